"""Callers whom a program (AMI) or the dialplan brings to an agent, and takes away from it, on a real Asterisk."""

from pathlib import Path

import pytest
import trio

from tests.e2e.switchboard import CAROL, MEDIA, PATIENCE, STREAMING, a_switchboard, let_go, talking
from tests.e2e.test_telephone_transfers import KEYS
from tests.lab.prefix import Prefix
from tests.lab.sip import SipCaller
from tests.lab.vendors.deepgram_agent import Call as ToolCall
from tests.lab.vendors.deepgram_agent import Turn

pytestmark = [pytest.mark.e2e, pytest.mark.long]

INTO_AGENT = {"Exten": STREAMING, "Context": "from-lab"}
DIALPLAN = """
; Nobody answers in the queue, or at the telephones of a group.
exten => 7700,1,Answer()
 same => n,Queue(support,,,,2)
 same => n,Goto(7600,1)
exten => 7710,1,Set(__PICKUPMARK=blue)
 same => n,Dial(PJSIP/caller/sip:bob@127.0.0.1:${BOB},20)
exten => 7711,1,Pickup(blue@PICKUPMARK)
 same => n,Wait(0.2)
 same => n,Goto(1)
exten => 7712,1,Dial(PJSIP/caller/sip:bob@127.0.0.1:${BOB}&PJSIP/caller/sip:carol@127.0.0.1:${CAROL},2)
 same => n,Goto(7600,1)
exten => 7720,1,Dial(Local/7600@from-lab)
exten => 7721,1,Dial(Local/7600@from-lab/n)
"""

TIMED = """
; Who calls here has ten seconds in all.
exten => 7730,1,Set(TIMEOUT(absolute)=10)
 same => n,Goto(hurried,s,1)
exten => 7731,1,Set(TIMEOUT(absolute)=10)
 same => n,Goto(hurried-on,s,1)

[hurried]
exten => s,1,Stasis(agentd,agent=default,media=external)

[hurried-on]
exten => s,1,Stasis(agentd,agent=default,media=external)
exten => T,1,Answer()
 same => n,Wait(60)
"""


async def test_a_program_puts_a_caller_through_blind(pbx_prefix: Prefix, tmp_path: Path) -> None:
    """The channel that AMI's BlindTransfer names is the one that transfers."""
    async with a_switchboard(pbx_prefix, tmp_path) as board, talking(board) as (ada, bob):
        await board.manager.action("BlindTransfer", Channel=await board.channel("4711"), **INTO_AGENT)
        assert (await board.greeted())["extension"] == STREAMING
        await let_go(ada)
        await board.converses(bob)
        await bob.hangup()


async def test_a_program_puts_a_caller_through_after_a_consultation(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with (
        a_switchboard(pbx_prefix, tmp_path, modules=("bridge_builtin_features",), files=KEYS) as board,
        talking(board, "88") as (ada, bob),
    ):
        await board.manager.action("Atxfer", Channel=await board.channel("4711"), **INTO_AGENT)
        await board.greeted()
        await board.knows("4711", "Ada")
        await ada.hangup()
        await board.daemon.wait_for("the caller is another one now", timeout=PATIENCE)
        await board.converses(bob)
        await bob.hangup()
        assert await board.results() == {"caller-hung-up": 1.0}


async def test_a_program_redirects_a_caller_into_the_agent(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with a_switchboard(pbx_prefix, tmp_path) as board, talking(board) as (ada, bob):
        await board.manager.action("Redirect", Channel=await board.channel("4711"), Priority="1", **INTO_AGENT)
        await board.greeted()
        await let_go(bob)
        await board.knows("4711", "Ada")
        await board.converses(ada)
        await ada.hangup()


@pytest.mark.parametrize("media", MEDIA)
async def test_a_program_takes_a_caller_away_from_the_agent(media: str, pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with (
        a_switchboard(pbx_prefix, tmp_path) as board,
        board.call(MEDIA[media]) as ada,
        SipCaller().line() as line,
    ):
        await board.greeted()
        place = {"Exten": f"8{line.port}", "Context": "from-lab", "Priority": "1"}
        await board.manager.action("Redirect", Channel=await board.channel("4711"), **place)
        bob = await line.call()
        assert await board.results() == {"taken-away": 1.0}
        with trio.fail_after(PATIENCE):
            while await board.host.in_application():
                await trio.sleep(0.1)
        assert len(await board.host.bridges()) == 1, "theirs"
        await board.hear_each_other(ada, bob)
        await ada.hangup()


@pytest.mark.parametrize(("extension", "result"), [("7730", "caller-hung-up"), ("7731", "taken-away")])
async def test_a_caller_whose_time_is_over_was_taken_nowhere_unless_the_dialplan_goes_on(
    extension: str, result: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    async with (
        a_switchboard(pbx_prefix, tmp_path, dialplan=DIALPLAN + TIMED, modules=("func_timeout",)) as board,
        board.call(extension) as ada,
    ):
        await board.greeted()
        assert await board.results() == {result: 1.0}
        if result == "taken-away":
            await ada.hangup()


async def test_who_waited_in_a_queue_in_vain_comes_to_the_agent_which_sends_them_back(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    async with a_switchboard(
        pbx_prefix,
        tmp_path,
        dialplan=DIALPLAN,
        modules=("app_queue",),
        files={"queues.conf": "[support]\njoinempty=yes\n"},
        lines='tools = ["put_through"]',
        tables='[tools.put_through]\nkind = "transfer"\n[tools.put_through.transfer]\n'
        'destinations = { queue = "7700@from-lab" }\n',
    ) as board:
        tool = ToolCall("put_through", '{"destination": "queue"}')
        board.host.house.deepgram.script = [Turn(says=("One moment.",), calls=(tool,)), Turn()]
        async with board.call("7700") as ada:
            await board.greeted()
            await board.knows("4711", "Ada")
            told = board.told
            await board.converses(ada)
            await board.daemon.wait_for("call ended", start=told, timeout=PATIENCE, result="transferred")
            await board.greeted(told)
            await board.converses(ada)
            await ada.hangup()
        assert await board.results() == {"transferred": 1.0, "caller-hung-up": 1.0}


async def test_who_was_answered_by_nobody_of_a_group_comes_to_the_agent(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with (
        a_switchboard(pbx_prefix, tmp_path, dialplan=DIALPLAN) as board,
        SipCaller().line(answers=False) as bob,
        SipCaller().line(answers=False) as carol,
    ):
        for name, line in (("BOB", bob), ("CAROL", carol)):
            await board.host.pbx.cli(f"dialplan set global {name} {line.port}")
        async with board.call("7712") as ada:
            await bob.let_be()
            await carol.let_be()
            await board.greeted()
            await board.knows("4711", "Ada")
            await board.converses(ada)
            await ada.hangup()


async def test_who_was_picked_up_elsewhere_is_put_through_from_there(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with (
        a_switchboard(pbx_prefix, tmp_path, dialplan=DIALPLAN, modules=("app_directed_pickup",)) as board,
        SipCaller().line(answers=False) as bob,
        trio.open_nursery() as nursery,
    ):
        await board.host.pbx.cli(f"dialplan set global BOB {bob.port}")

        async def carol() -> None:
            await bob.rings()
            async with board.call("7711", CAROL) as call:
                await bob.let_be()
                await board.put_together()
                await call.transfer(board.uri(STREAMING))
                await board.greeted()
                await call.hangup()

        nursery.start_soon(carol)
        async with board.call("7710") as ada:
            await board.greeted()
            await board.knows("4711", "Ada")
            await board.telephones(1)
            await board.converses(ada)
            await ada.hangup()


@pytest.mark.parametrize("extension", ["7720", "7721"], ids=["optimised", "kept"])
async def test_a_local_channel_in_the_way_makes_no_difference_and_stays_nowhere(
    extension: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """Asterisk takes no Local channel out of the way into a bridge of an application, `/n` or not (Asterisk 22
    res/res_stasis.c: AST_BRIDGE_FLAG_SWAP_INHIBIT_TO)."""
    async with a_switchboard(pbx_prefix, tmp_path, dialplan=DIALPLAN) as board, board.call(extension) as ada:
        await board.greeted()
        await board.knows("4711", "Ada")
        await board.converses(ada)
        async with SipCaller().line() as line:
            place = {"Exten": f"8{line.port}", "Context": "from-lab", "Priority": "1"}
            await board.manager.action("Redirect", Channel=await board.channel("4711"), **place)
            bob = await line.call()
            assert await board.results() == {"caller-hung-up": 1.0}
            await board.hear_each_other(ada, bob)
            await ada.hangup()
