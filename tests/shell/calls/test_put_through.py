"""ONE call in which another party takes the caller's place, by an attended transfer: who knows whom from then on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.ari.events import Channel, StasisStart
from agentd.errors import ProviderUnavailable
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


async def test_a_session_that_could_not_be_renewed_for_another_caller_is_renewed_before_it_must_end(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        scene.agent.opening = failing(ProviderUnavailable("no route"))
        await put_through(scene)
        await scene.until(lambda: scene.agent.opened == 2)
        scene.agent.opening = trio.lowlevel.checkpoint
        scene.session.emit(tells.RenewalDue(60.0))
        await scene.until(lambda: len(scene.sessions) == 2)
        assert scene.agent.calls[-1].caller_name == "Bob"
