"""Agents and sessions that raise, in whatever they are asked: one session less, or one agent that is not ready."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Agent, AgentSession, Readiness, SayOutcome
from agentd.conversation.commands import Result
from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd.serving.contained import ContainedAgent, ContainedSession
from agentd.testing._lines import audio_frame
from agentd.testing.sound import voice
from tests.shell.call_scene import Scene, make_scene, running
from tests.shell.fakes import CAPABLE, FakeAgent
from tests.shell.front_desk import QUIET, open_for_callers

MEMBERS = sorted(name for name in vars(AgentSession) if not name.startswith("_"))
"""All that a session can be asked, by the protocol itself."""
AGENT_MEMBERS = sorted(name for name in vars(Agent) if not name.startswith("_"))
SAMPLES: dict[Any, Any] = {bytes: bytes(320), float: 0.0, str: "x", int: 1, bool: True}


def test_the_tables_are_the_protocols() -> None:
    assert {"capabilities", "events", "feed", "say", "tool_result"} <= {*MEMBERS}
    assert {"readiness", "rates", "open", "synthesise"} == {*AGENT_MEMBERS}


@attrs.define(eq=False)
class Broken:
    """A session, or an agent, of which one member raises."""

    whole: Any
    member: str = ""
    error: BaseException = attrs.field(factory=lambda: ZeroDivisionError("a defect"))

    def __getattr__(self, name: str) -> Any:
        if name == self.member:
            raise self.error
        return getattr(self.whole, name)


@attrs.define(eq=False)
class BrokenAgent(FakeAgent):
    broken: Broken | None = None
    """Its last session."""

    @asynccontextmanager
    async def open(self, *given: Any) -> AsyncIterator[Any]:
        async with FakeAgent.open(self, *given) as session:
            self.broken = Broken(session)
            yield self.broken


async def ask(session: AgentSession, member: str) -> object:
    """Ask a session for something, whatever the protocol says that it wants for it."""
    asked = inspect.getattr_static(AgentSession, member)
    if isinstance(asked, property):
        found = getattr(session, member)
        return [event async for event in found] if member == "events" else found
    kinds = [kind for name, kind in get_type_hints(asked).items() if name != "return"]
    answer = getattr(session, member)(*(SAMPLES[kind] for kind in kinds))
    if inspect.isawaitable(answer):
        with trio.move_on_after(5.0):
            return await answer
        return None
    return answer


@asynccontextmanager
async def talking() -> AsyncIterator[Scene]:
    """A call that an agent with a session of `Broken`'s serves, and that has another agent to go on with."""
    scene = make_scene(agents=(BrokenAgent(), FakeAgent()))
    async with running(scene):
        await scene.greeted()
        yield scene


def break_down(scene: Scene, member: str, error: BaseException) -> None:
    """From now on the first agent's session raises where it is asked for this."""
    agent = scene.agents[0]
    assert isinstance(agent, BrokenAgent)
    assert agent.broken is not None
    agent.broken.error, agent.broken.member = error, member


@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), ProviderUnavailable("gone"), SystemExit(1)], ids=type)
@pytest.mark.parametrize("member", MEMBERS)
async def test_a_session_that_raises_hands_the_call_to_the_next_agent(
    member: str, error: BaseException, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with talking() as scene:
            seated = scene.call._keeper.session
            assert seated is not None
            break_down(scene, member, error)
            await ask(seated, member)
            await scene.until(lambda: len(scene.sessions) == 2 and scene.call._keeper.session is not seated)
            assert [agent.opened for agent in scene.agents] in ([1, 1], [2, 0])
            scene.hang_up()
    assert scene.result is Result.CALLER_HUNG_UP
    assert len([log for log in logs if log.get("exc_info")]) == (not isinstance(error, ProviderUnavailable))


@pytest.mark.parametrize("member", ["feed", "heard", "answer", "interrupt"])
async def test_what_the_call_itself_asks_is_contained(member: str, autojump_clock: MockClock) -> None:
    """The same by the way of the call: a caller who speaks, is answered, and interrupts."""
    async with talking() as scene:
        break_down(scene, member, ZeroDivisionError("a defect"))
        scene.line.say(audio_frame(voice(0.02)))
        if member != "feed":
            scene.session.emit(tells.CallerSpeechStarted(0.0), tells.CallerSpeechEnded(0.0, 0.0))
            await scene.session.utter("An answer", seconds=2.0)
            await trio.sleep(1.0)
            if member == "interrupt":
                scene.session.emit(tells.CallerSpeechStarted(0.1), tells.CallerTakesTurn(0.2))
        await scene.until(lambda: len(scene.sessions) == 2)
        scene.hang_up()
    assert scene.result is Result.CALLER_HUNG_UP


async def test_words_that_a_session_failed_to_say_are_said_by_the_next(autojump_clock: MockClock) -> None:
    async with talking() as scene:
        break_down(scene, "say", ZeroDivisionError("a defect"))
        scene.call._nursery.start_soon(scene.call._keeper.say, "Are you there?")
        await scene.until(lambda: len(scene.sessions) == 2 and "Are you there?" in scene.session.said)
        scene.hang_up()


async def test_a_session_without_capabilities_is_none(autojump_clock: MockClock) -> None:
    agent = FakeAgent(capabilities=None)  # type: ignore[arg-type]
    scene = make_scene(agents=(agent, FakeAgent()))
    async with running(scene):
        await scene.greeted()
        assert scene.agents[1].opened == 1
        scene.hang_up()


# --- the session's containment by itself


def told(failures: list[tuple[str, BaseException]]) -> Callable[[str, BaseException], None]:
    return lambda what, error: failures.append((what, error))


def a_session(**members: object) -> Any:
    """A session that has these members only."""
    return type("Partial", (), {"capabilities": CAPABLE, **members})()


async def test_a_session_that_raised_is_asked_nothing_more() -> None:
    asked, failures = list[str](), list[tuple[str, BaseException]]()

    def feed(_session: object, _pcm: bytes, _at: float) -> None:
        asked.append("feed")
        raise ZeroDivisionError

    contained = ContainedSession(a_session(feed=feed), told(failures))
    for _ in range(3):
        contained.feed(b"", 0.0)
    assert asked == ["feed"]
    assert [(what, type(error)) for what, error in failures] == [("feed", ZeroDivisionError)]
    assert [event async for event in contained.events] == []
    assert contained.capabilities == CAPABLE, "as they were last"


async def test_a_cancellation_goes_through(autojump_clock: MockClock) -> None:
    failures = list[tuple[str, BaseException]]()

    async def say(_session: object, _text: str) -> SayOutcome:
        await trio.sleep_forever()
        return SayOutcome.SPOKEN

    contained = ContainedSession(a_session(say=say), told(failures))
    with trio.move_on_after(1.0) as deadline:
        await contained.say("Hello")
    assert deadline.cancelled_caught
    assert failures == []


async def test_what_it_tells_is_told_on(autojump_clock: MockClock) -> None:
    failures = list[tuple[str, BaseException]]()

    async def news() -> AsyncIterator[tells.SessionEvent]:
        yield tells.Alive()
        yield tells.NothingToSay("x")
        await trio.lowlevel.checkpoint()

    contained = ContainedSession(a_session(events=news()), told(failures))
    assert [event async for event in contained.events] == [tells.Alive(), tells.NothingToSay("x")]
    assert failures == []


# --- the agent's


async def test_an_agent_that_raises_is_not_ready_and_carries_no_more_than_all_do() -> None:
    class Agentless:
        readiness = property(lambda _agent: 1 / 0)
        rates = property(lambda _agent: 1 / 0)

        async def synthesise(self, _text: str) -> Any:
            await trio.lowlevel.checkpoint()
            raise KeyError("secret")

    with structlog.testing.capture_logs() as logs:
        agent = ContainedAgent("sales", Agentless())  # type: ignore[arg-type]
        for _ in range(3):
            assert agent.readiness == Readiness(False, "a defect of its provider, in readiness: ZeroDivisionError")
            assert agent.rates == (8000,)
            with pytest.raises(ProviderUnavailable, match=r"^a defect of its provider, in synthesise: KeyError$"):
                await agent.synthesise("Hello")
    assert [log["what"] for log in logs] == ["readiness", "rates", "synthesise"]


async def test_an_agent_whose_readiness_is_none_is_not_ready() -> None:
    class Agentless:
        readiness = None

    assert not ContainedAgent("sales", Agentless()).readiness.ready  # type: ignore[arg-type]


async def test_a_refusal_of_its_provider_is_told_as_it_is() -> None:
    class Mute:
        async def synthesise(self, _text: str) -> Any:
            await trio.lowlevel.checkpoint()
            raise ProviderRejected("no voice")

    with pytest.raises(ProviderRejected, match=r"^no voice$"):
        await ContainedAgent("sales", Mute()).synthesise("Hello")  # type: ignore[arg-type]


@pytest.mark.parametrize("member", [member for member in AGENT_MEMBERS if member != "synthesise"])
async def test_a_caller_whose_agent_raises_is_served_by_its_fallback(
    member: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    agents = {"default": attrs.evolve(QUIET, fallback=["night"]), "night": QUIET}

    async with open_for_callers(tmp_path, agents) as desk:
        entry = desk.reception.roster.entries["default"]
        assert isinstance(entry.agent, ContainedAgent)
        entry.agent.agent = Broken(desk.agent, member)  # type: ignore[assignment]
        desk.call()
        night = desk.agents["default" if member == "rates" else "night"]
        await desk.until(lambda: night.sessions and night.session.begun)
        desk.hang_up()
