"""Calls that telephones put through to an agent, and away from it, on a real Asterisk: by REFER and by keys.

How a telephone says it: RFC 5589, sections 6 and 7.
"""

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.e2e.switchboard import BOB, FILES, MEDIA, PATIENCE, STREAMING, a_switchboard, let_go, talking
from tests.lab.prefix import Prefix
from tests.lab.sip import CallEnded, SipCaller

pytestmark = [pytest.mark.e2e, pytest.mark.long]

KEYS = {"features.conf": "[general]\ntransferdigittimeout=5\n[featuremap]\nblindxfer=#1\natxfer=*2\n"}
ATTENDED = [("talk", "streaming"), ("consultation", "streaming"), ("talk", "files"), ("talk", "fork")]
"""Which of the two calls of the one who puts through the telephone sends the REFER in, and how the agent is heard."""


@pytest.mark.parametrize("media", MEDIA)
async def test_who_is_put_through_blind_has_a_call_like_any_other(
    media: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    extension = MEDIA[media]
    async with a_switchboard(pbx_prefix, tmp_path) as board, talking(board) as (ada, bob):
        await bob.transfer(board.uri(extension))
        call = await board.greeted()
        assert (call["extension"], call["agent"]) == (extension, "files" if media == "files" else "default")
        await board.knows("4711", "Ada", extension)
        await board.telephones(1)
        await bob.hangup()
        await board.converses(ada)
        await ada.hangup()
        assert await board.results() == {"caller-hung-up": 1.0}


@pytest.mark.parametrize(("refer", "media"), ATTENDED)
async def test_who_is_put_through_after_a_consultation_goes_on_in_that_call_and_is_known_to_the_agent(
    refer: str, media: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    extension = MEDIA[media]
    async with a_switchboard(pbx_prefix, tmp_path) as board, talking(board) as (ada, bob):
        async with board.call(extension, BOB) as consultation:
            await board.greeted()
            await board.knows("4712", "Bob", extension)
            one, other = (bob, consultation) if refer == "talk" else (consultation, bob)
            await one.transfer(board.uri(extension), other)
            await let_go(other)
            await one.hangup()
        await board.knows("4711", "Ada", extension)
        await board.converses(ada)
        await ada.hangup()
        assert await board.results() == {"caller-hung-up": 1.0}
        assert len(board.daemon.having("call")) == 1


async def test_a_number_that_is_withheld_stays_so_when_its_caller_is_put_through(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    async with a_switchboard(pbx_prefix, tmp_path) as board, talking(board, "89") as (ada, bob):
        async with board.call(STREAMING, BOB) as consultation:
            await board.greeted()
            await bob.transfer(board.uri(STREAMING), consultation)
            await let_go(consultation)
            await bob.hangup()
        await board.daemon.wait_for("the caller is another one now", timeout=PATIENCE, number_known=False)
        await board.knows("unknown", "unknown")
        await board.converses(ada)
        await ada.hangup()
    assert not [prompt for prompt in board.prompts if "4711" in prompt or "Ada" in prompt]


async def test_who_puts_the_agent_through_is_let_go_and_the_agent_goes_on_with_who_answers(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """Asterisk left the telephone's channel in the application, from where it came back as a call that had failed."""
    async with a_switchboard(pbx_prefix, tmp_path) as board, SipCaller().line() as line:
        async with board.call(STREAMING) as ada:
            await board.greeted()
            await ada.transfer(board.uri(f"8{line.port}"))
            bob = await line.call()
            await board.knows(f"8{line.port}", "unknown")
            await board.telephones(1)
            await ada.hangup()
        await board.converses(bob)
        await bob.hangup()
        assert await board.results() == {"caller-hung-up": 1.0}


async def test_where_files_are_played_there_is_nobody_to_put_through_and_the_call_goes_on(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    async with a_switchboard(pbx_prefix, tmp_path) as board, SipCaller().line() as line:
        async with board.call(FILES) as ada:
            await board.greeted()
            await ada.transfer(board.uri(f"8{line.port}"))
            await board.converses(ada)
            await ada.hangup()
        assert await board.results() == {"caller-hung-up": 1.0}


async def test_keys_put_a_caller_through_blind(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with (
        a_switchboard(pbx_prefix, tmp_path, modules=("bridge_builtin_features",), files=KEYS) as board,
        talking(board, "88") as (ada, bob),
    ):
        await bob.send_dtmf("#1")
        await trio.sleep(0.5)
        with suppress(CallEnded):  # with the last digit
            await bob.send_dtmf(STREAMING)
        await board.greeted()
        await let_go(bob)
        await board.knows("4711", "Ada")
        await board.converses(ada)
        await ada.hangup()


async def test_after_a_consultation_by_keys_the_agent_goes_on_with_the_other_party_and_knows_it(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """The PBX calls the agent over a Local channel, which stays: no channel is replaced, and no event of its own tells
    that another party is behind it."""
    async with (
        a_switchboard(pbx_prefix, tmp_path, modules=("bridge_builtin_features",), files=KEYS) as board,
        talking(board, "88") as (ada, bob),
    ):
        await bob.send_dtmf("*2")
        await trio.sleep(0.5)
        await bob.send_dtmf(STREAMING)
        await board.greeted()
        await board.converses(bob)
        await bob.hangup()
        await board.knows("4711", "Ada")
        await board.converses(ada)
        await ada.hangup()
        assert await board.results() == {"caller-hung-up": 1.0}
