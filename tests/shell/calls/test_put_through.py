"""ONE call in which another party takes the caller's place, by an attended transfer: who knows whom from then on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.ari.events import Channel, ConnectedLine, StasisStart
from agentd.calls.caller_identity import LONGEST_PAUSE
from agentd.errors import ProviderUnavailable
from agentd.serving.renewal import RENEW_AGAIN, RENEW_AGAIN_LONGEST
from agentd.testing._call import CALLER
from tests.shell.call_scene import GREETING, Scene, make_scene, running
from tests.shell.fakes import failing

ALICE = Channel("1700000000.0")


@asynccontextmanager
async def greeted() -> AsyncIterator[Scene]:
    """A call whose caller, Alice, has heard the greeting, and who is there hangs up after the block."""
    scene = make_scene()
    async with running(scene):
        await scene.greeted()
        yield scene
        scene.hang_up()


def replaced() -> StasisStart:
    """Bob's channel is in the place of Alice's. (The staged call knows one channel.)"""
    return StasisStart(Channel(CALLER, "PJSIP/bob-1"), (), replaces=ALICE)


async def sessions(scene: Scene, count: int) -> None:
    """Wait until so many have been opened, and all but the last one put away."""
    await scene.until(lambda: len(scene.sessions) == count and scene.agent.closed == count - 1)


async def put_through(scene: Scene, number: str = "4712", name: str = "Bob") -> None:
    """Another party takes the caller's place; returns once it is known."""
    identity = {"CALLERID(num)": number, "CALLERID(name)": name, "CALLERID(pres)": "allowed"}
    scene.asterisk.variables[CALLER] = identity
    scene.event(replaced())
    await scene.until(lambda: scene.call.info.caller_number == number)


async def put_through_in_vain(scene: Scene) -> None:
    """Another party takes the caller's place, for whom no session can be opened; returns once one was tried for."""
    scene.agent.opening = failing(ProviderUnavailable("no route"))
    await put_through(scene)
    await scene.until(lambda: scene.agent.opened == 2)


async def test_after_a_transfer_the_agent_knows_the_new_party_and_the_conversation_goes_on(
    autojump_clock: MockClock,
) -> None:
    """Its prompt had the first caller's number for the rest of the call."""
    async with greeted() as scene:
        await put_through(scene)
        await sessions(scene, 2)
        first, second = scene.agent.calls
        assert (first.caller_number, first.caller_name) == ("100", "Alice")
        assert second == attrs.evolve(first, caller_number="4712", caller_name="Bob")
        assert scene.agent.histories[-1] == [GREETING]
        now = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(now - 1.0), tells.CallerSpeechEnded(now, now - 0.3))
        await scene.until(lambda: scene.session.told == ["answer"])


async def test_until_the_new_party_is_known_tools_and_whoever_takes_over_know_nobody(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        scene.event(replaced())
        await scene.until(lambda: scene.call.info.caller_number == "")
        assert scene.call._tools.context.info.caller_name == ""
        scene.session.emit(tells.Ended("gone"))
        await sessions(scene, 2)
        assert (scene.agent.calls[-1].caller_number, scene.agent.calls[-1].caller_name) == ("", "")
        await put_through(scene)
        assert scene.call._tools.context.info.caller_name == "Bob"
        await sessions(scene, 3)
        assert scene.agent.calls[-1].caller_name == "Bob"


async def test_of_two_parties_that_were_put_through_the_last_one_counts(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        scene.event(replaced())
        await put_through(scene, "4713", "Carol")
        await sessions(scene, 2)
        await trio.sleep(20.0)
        assert [call.caller_name for call in scene.agent.calls] == ["Alice", "Carol"]


async def test_a_party_that_is_shown_as_the_one_before_needs_no_other_session(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        await put_through(scene, "100", "Alice")
        await trio.sleep(10.0)
        assert scene.agent.opened == 1


async def test_a_session_that_could_not_be_renewed_for_another_caller_is_renewed_a_little_later(
    autojump_clock: MockClock,
) -> None:
    """It counted as renewed once it had been tried: the prompt had the first caller's number to the end."""
    async with greeted() as scene:
        await put_through_in_vain(scene)
        scene.agent.opening = trio.lowlevel.checkpoint
        await trio.sleep(2 * RENEW_AGAIN)
        assert (scene.agent.calls[-1].caller_name, scene.agent.opened, len(scene.sessions)) == ("Bob", 3, 2)
        await trio.sleep(3 * RENEW_AGAIN_LONGEST)
        assert scene.agent.opened == 3


async def test_a_renewal_for_another_caller_that_always_fails_is_tried_more_and_more_rarely(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        scene.agent.opening = failing(ProviderUnavailable("no route"))
        await put_through(scene)
        await trio.sleep(RENEW_AGAIN_LONGEST)
        assert 4 <= scene.agent.opened <= 7
        tried = scene.agent.opened
        await trio.sleep(3 * RENEW_AGAIN_LONGEST)
        assert scene.agent.opened - tried in (2, 3)


async def test_a_renewal_that_failed_is_not_tried_again_once_the_first_caller_is_back(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        await put_through_in_vain(scene)
        await put_through(scene, "100", "Alice")
        scene.agent.opening = trio.lowlevel.checkpoint
        await trio.sleep(3 * RENEW_AGAIN_LONGEST)
        assert scene.agent.opened == 2


async def test_a_session_that_could_not_be_renewed_for_another_caller_is_renewed_where_it_must_end(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        await put_through_in_vain(scene)
        scene.agent.opening = trio.lowlevel.checkpoint
        scene.session.emit(tells.RenewalDue(60.0))
        await scene.until(lambda: len(scene.sessions) == 2)
        assert scene.agent.calls[-1].caller_name == "Bob"


# --- another party behind the same channel


def connected(scene: Scene, number: str, name: str = "") -> None:
    """Asterisk names another one as whom the leg is connected with, and at the caller's channel too."""
    scene.asterisk.variables[CALLER] = {"CALLERID(num)": number, "CALLERID(name)": name}
    scene.event(ConnectedLine(Channel("leg"), number, name))


def asked(scene: Scene) -> int:
    return len(scene.asterisk.asked("GET */variable"))


async def test_another_party_behind_the_same_channel_is_known_and_nobody_is_anonymous_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        connected(scene, "100", "Alice")
        connected(scene, "4712", "Bob")
        known = set[str]()
        while "4712" not in known:
            known.add(scene.call.info.caller_number)
            await trio.sleep(0.01)
        assert known == {"100", "4712"}
        assert scene.call._tools.context.info.caller_name == "Bob"
        await sessions(scene, 2)
        assert scene.agent.calls[-1].caller_name == "Bob"


async def test_a_caller_whose_channel_is_told_anew_stays_the_same_caller(autojump_clock: MockClock) -> None:
    """A change of the name alone, or of who is shown as connected: it made the caller unknown for seconds."""
    async with greeted() as scene:
        before = scene.call.info
        scene.event(ConnectedLine(Channel("leg"), "100", "Alice"))
        scene.event(ConnectedLine(Channel("leg"), "100", "Alice A."))
        scene.asterisk.variables[CALLER] = {"CALLERID(num)": "100", "CALLERID(name)": "Alice"}
        for _ in range(1000):
            await trio.sleep(0.01)
            assert scene.call.info == before
        assert scene.agent.opened == 1


async def test_another_party_behind_the_same_channel_that_is_not_named_is_nobody_known(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        connected(scene, "100", "Alice")
        connected(scene, "4712")
        scene.asterisk.variables[CALLER] = {"CALLERID(num)": "4712", "CALLERID(pres)": "prohib"}
        await scene.until(lambda: scene.call.info.caller_number == "")
        await sessions(scene, 2)
        assert scene.agent.calls[-1].caller_name == ""


async def test_a_telephone_that_changes_its_identity_every_second_costs_few_requests_and_sessions(
    autojump_clock: MockClock,
) -> None:
    """By UPDATE or re-INVITE a telephone may name itself anew as often as it likes (RFC 3311; P-Asserted-Identity)."""
    async with greeted() as scene:
        before = asked(scene)
        for number in range(300):
            connected(scene, str(4000 + number))
            await trio.sleep(1.0)
        assert asked(scene) - before <= 3 * (5 + 300 / LONGEST_PAUSE)
        assert scene.agent.opened <= 1 + 5 + 300 / LONGEST_PAUSE
        connected(scene, "4712", "Bob")
        await trio.sleep(LONGEST_PAUSE + 2.0)
        assert (scene.call.info.caller_name, scene.agent.calls[-1].caller_name) == ("Bob", "Bob")


async def test_who_takes_the_place_is_asked_for_at_once_whatever_was_asked_before(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        for number in range(60):
            connected(scene, str(4000 + number))
            await trio.sleep(1.0)
        scene.event(replaced())
        scene.asterisk.variables[CALLER] = {"CALLERID(num)": "4712", "CALLERID(name)": "Bob"}
        await scene.until(lambda: scene.call.info.caller_number == "")
        await trio.sleep(1.0)
        assert scene.call.info.caller_name == "Bob"
