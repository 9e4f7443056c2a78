"""ONE call whose agent fails: who takes over, how soon, and what the caller hears and loses meanwhile."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import structlog
import trio
from structlog.contextvars import merge_contextvars
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Audio, Readiness
from agentd.calls.fields import begin_call_fields, merge_call_fields
from agentd.conversation.commands import Phrase, Result
from agentd.conversation.events import DepartureRequested
from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd.history import Speaker
from agentd.serving.breaker import FAILURES, FIRST_COOL_DOWN, Circuit
from agentd.serving.caller_audio import LEAD_SECONDS
from agentd.serving.failover import RECONNECTS, FailoverTimes
from agentd.serving.keeper import LAST_RESORT_WITHIN, MOST_FRUITLESS
from agentd.serving.muteness import STUCK_SECONDS
from agentd.testing._lines import audio_frame
from agentd.testing.sound import RATE, voice
from tests.shell.call_scene import GREETING, HOLD_MESSAGE, HOLD_MESSAGES, Mode, Scene, make_scene, running
from tests.shell.fakes import CAPABLE, FakeAgent, FakeSession, failing, stand_still
from tests.shell.steps import Act, play

TIMES = FailoverTimes(open_within=1.5, mute_after=1.2, hold_message=HOLD_MESSAGE, apology="")
SOON = 0.3
"""Seconds in which a successor that opens at once has begun to serve."""
PROBED = attrs.evolve(CAPABLE, answers_probes=True)
REALTIME = attrs.evolve(PROBED, speaks_verbatim=False)


def scene_of(*agents: FakeAgent, mode: Mode = Mode.STREAM, **settings: Any) -> Scene:
    return make_scene(mode, agents or (FakeAgent(), FakeAgent()), **{"failover": TIMES, **settings})


@asynccontextmanager
async def greeted(*agents: FakeAgent, mode: Mode = Mode.STREAM, **settings: Any) -> AsyncIterator[Scene]:
    """A call whose caller has heard the greeting, and hangs up after the block."""
    scene = scene_of(*agents, mode=mode, **settings)
    async with running(scene):
        await scene.greeted()
        yield scene
        scene.hang_up()


def opened(scene: Scene) -> list[int]:
    """How often each agent was asked for a session."""
    return [agent.opened for agent in scene.agents]


def sounds(scene: Scene, since: float = 0.0) -> bytes:
    """What the caller has heard, the silence left out."""
    return b"".join(frame for line in scene.lines.all for frame in line.since(since) if any(frame))


def turn(scene: Scene, text: str = "") -> None:
    """The caller has said something, as the session tells it; with `text`, the words are in the history."""
    now = trio.current_time()
    scene.session.emit(tells.CallerSpeechStarted(now - 1.0), tells.CallerSpeechEnded(now, now - 0.3))
    if text:
        scene.call.history.caller_said(text)
        scene.session.emit(tells.CallerText(text))


async def next_session(scene: Scene, within: float = SOON) -> FakeSession:
    """The session that takes the place of the one there is."""
    count = len(scene.sessions)
    with trio.fail_after(within):
        await scene.until(lambda: len(scene.sessions) > count and scene.seated is scene.session)
    return scene.session


@attrs.define(eq=False)
class CallerVoice:
    """A caller who speaks without pause: 20 ms frames, of which no two are alike."""

    scene: Scene
    spoken: list[bytes] = attrs.field(factory=list)
    stopped: bool = False

    async def speak(self, seconds: float = 1e9) -> None:
        until = trio.current_time() + seconds
        while not self.stopped and trio.current_time() < until - 0.001:
            self.spoken.append(voice(0.02, seed=1000 + len(self.spoken)))
            self.scene.line.say(audio_frame(self.spoken[-1]))
            await trio.sleep(0.02)


def heard_by(session: FakeSession) -> list[bytes]:
    return [pcm for pcm in session.fed if any(pcm)]


# --- at the start


@pytest.mark.parametrize(
    ("hindrance", "silence"),
    [
        (FakeAgent(failing(ProviderUnavailable("no route"), after=0.3)), 0.3),
        (FakeAgent(failing(ProviderRejected("bad key"), after=0.3)), 0.3),
        (FakeAgent(stand_still), TIMES.open_within),
    ],
    ids=["unavailable", "rejected", "too slow"],
)
async def test_an_agent_that_opens_no_session_leaves_the_caller_to_the_next(
    hindrance: FakeAgent, silence: float, autojump_clock: MockClock
) -> None:
    scene = scene_of(attrs.evolve(hindrance, breaker=type(hindrance.breaker)()), FakeAgent())
    async with running(scene):
        await scene.live()
        assert trio.current_time() == pytest.approx(silence, abs=0.1)
        assert scene.agents[1].session.said == [GREETING]
        assert opened(scene) == [1, 1]
        assert scene.sample("failovers_total", agent="first", cause="start") == 1
        scene.hang_up()
    assert scene.result is Result.CALLER_HUNG_UP


async def test_an_agent_that_is_not_ready_is_not_waited_for(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(readiness=Readiness(False, "restarting")), FakeAgent())
    async with running(scene):
        await scene.live()
        assert trio.current_time() < 0.1
        assert opened(scene) == [0, 1]
        scene.hang_up()


async def test_when_nobody_opens_a_session_the_caller_is_told_and_goes_on(autojump_clock: MockClock) -> None:
    scene = scene_of(*(FakeAgent(failing(ProviderUnavailable("no route"), after=0.2)) for _ in range(3)))
    async with running(scene):
        pass
    assert (scene.result, scene.left_with) == (Result.FAILED_AGENT, "failed:agent")
    assert scene.announced == ["sound:sorry"]
    assert opened(scene) == [1, 1, 1]
    assert trio.current_time() == pytest.approx(0.6 + scene.file.seconds, abs=0.1)


async def test_the_last_one_is_given_more_time(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(failing(ProviderUnavailable("no"))), FakeAgent(partial(trio.sleep, 10.0)))
    async with running(scene):
        await scene.live()
        assert trio.current_time() == pytest.approx(10.0, abs=0.1)
        scene.hang_up()


async def test_agents_that_stand_still_keep_the_caller_waiting_for_a_bounded_time(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(stand_still), FakeAgent(stand_still))
    async with running(scene):
        pass
    assert scene.left_with == "failed:agent"
    expected = TIMES.open_within + LAST_RESORT_WITHIN + scene.file.seconds
    assert trio.current_time() == pytest.approx(expected, abs=0.2)


async def test_an_agent_that_is_down_is_not_asked_by_each_call_anew(autojump_clock: MockClock) -> None:
    down, other = FakeAgent(stand_still), FakeAgent()

    async def silence() -> float:
        scene, began = scene_of(down, other), trio.current_time()
        async with running(scene):
            await scene.live()
            waited = trio.current_time() - began
            scene.hang_up()
        return waited

    for _ in range(FAILURES):
        assert await silence() == pytest.approx(TIMES.open_within, abs=0.1)
    assert down.breaker.circuit(trio.current_time()) is Circuit.OPEN
    assert await silence() < 0.1
    assert down.opened == FAILURES
    await trio.sleep(FIRST_COOL_DOWN)
    scenes = [scene_of(down, other) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for scene in scenes:
            nursery.start_soon(scene.run)
        await trio.sleep(TIMES.open_within + 1.0)
        assert down.opened == FAILURES + 1, "one of them tries"
        for scene in scenes:
            scene.hang_up()


async def test_a_refusal_of_what_one_call_asks_takes_the_agent_from_nobody_else(autojump_clock: MockClock) -> None:
    served, other = FakeAgent(), FakeAgent()
    for _ in range(FAILURES + 1):
        async with greeted(served, other) as scene:
            turn(scene, "What are your hours?")
            scene.session.emit(tells.AnswerFailed("longer than the model's context", of_this_call=True))
            await next_session(scene)
    assert served.breaker.circuit(trio.current_time()) is Circuit.CLOSED
    for _ in range(FAILURES):
        async with greeted(served, other) as scene:
            turn(scene, "What are your hours?")
            scene.session.emit(tells.AnswerFailed("the model is overloaded"))
            await next_session(scene)
    assert served.breaker.circuit(trio.current_time()) is Circuit.OPEN


async def test_an_agent_that_is_well_again_takes_calls_again(autojump_clock: MockClock) -> None:
    first, other = FakeAgent(failing(ProviderUnavailable("down"))), FakeAgent()
    for _ in range(FAILURES):
        first.breaker.failed(trio.current_time(), "down")
    first.opening = partial(trio.sleep, 0.0)
    await trio.sleep(FIRST_COOL_DOWN)
    async with greeted(first, other) as scene:
        assert first.breaker.circuit(trio.current_time()) is Circuit.HALF_OPEN, "a greeting is no proof"
        turn(scene, "Hello?")
        await scene.speaking("The answer")
        assert first.breaker.circuit(trio.current_time()) is Circuit.CLOSED


# --- a session that fails


async def break_by_event(scene: Scene) -> None:
    scene.session.emit(tells.Ended("the connection broke"))


async def break_by_error(scene: Scene) -> None:
    scene.session.fail(ProviderUnavailable("the connection broke"))


async def break_by_a_defect(scene: Scene) -> None:
    scene.session.fail(KeyError("a bug of the provider's"))


async def break_by_silence(scene: Scene) -> None:
    scene.session.close_events()


BREAKS = [break_by_event, break_by_error, break_by_a_defect, break_by_silence]
broken = pytest.mark.parametrize("break_off", BREAKS)
Break = Callable[[Scene], Any]


@broken
async def test_one_that_fails_while_nothing_happens_is_replaced_without_a_word(
    break_off: Break, autojump_clock: MockClock
) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await scene.session.utter("Nine to five.")
        await trio.sleep(3.0)
        before, since = scene.call.history.turns.copy(), trio.current_time()
        await break_off(scene)
        session = await next_session(scene)
        assert opened(scene) == [2, 0], "the connection may be had again"
        assert scene.agents[0].histories[-1] == [GREETING, "What are your hours?", "Nine to five."]
        await trio.sleep(5.0)
        assert (session.told, session.said, sounds(scene, since)) == ([], [], b"")
        assert scene.call.history.turns == before
        assert scene.sample("failovers_total", agent="first", cause="ended") == 1
        assert scene.agents[0].closed == 1


@broken
async def test_one_that_fails_while_an_answer_is_due_is_held_over_and_the_answer_comes(
    break_off: Break, autojump_clock: MockClock
) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await trio.sleep(0.2)
        since = trio.current_time()
        await break_off(scene)
        session = await next_session(scene)
        await scene.until(lambda: "resume" in session.told)
        await scene.speaking("Nine to five.", seconds=1.0)
        await trio.sleep(3.0)
        assert sounds(scene, since) == HOLD_MESSAGES[0] + voice(1.0, seed=session.utterances)
        assert scene.agent_turns == [GREETING, "Nine to five."], "the hold message is no part of the conversation"
        assert session.told.count("resume") == 1


async def test_the_hold_message_is_heard_in_the_voice_of_who_goes_on(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await trio.sleep(0.2)
        since = trio.current_time()
        scene.session.fail(ProviderRejected("the key was withdrawn"))
        session = await next_session(scene)
        await trio.sleep(1.0)
        assert session is scene.agents[1].session
        assert sounds(scene, since) == HOLD_MESSAGES[1]


async def test_the_caller_s_wait_is_short(autojump_clock: MockClock) -> None:
    """An agent that cannot be had again, and one that takes its time: the hold message is heard at once."""
    async with greeted(FakeAgent(), FakeAgent(partial(trio.sleep, 1.0))) as scene:
        turn(scene, "What are your hours?")
        await trio.sleep(0.2)
        since = trio.current_time()
        scene.agent.break_down("gone")
        await scene.until(lambda: sounds(scene, since))
        assert trio.current_time() - since < SOON
        await next_session(scene, 1.5)
        assert trio.current_time() - since == pytest.approx(1.0, abs=0.2)


@broken
async def test_one_that_fails_while_the_caller_speaks_loses_and_doubles_no_word(
    break_off: Break, autojump_clock: MockClock
) -> None:
    async with greeted() as scene:
        await trio.sleep(2.0)
        caller, since = CallerVoice(scene), trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.speak)
            await trio.sleep(0.2)
            scene.session.emit(tells.CallerSpeechStarted(since))
            await trio.sleep(2.0)
            scene.agent.opening = partial(trio.sleep, 0.4)
            await break_off(scene)
            session = await next_session(scene, 1.0)
            await trio.sleep(1.0)
            caller.stopped = True
        await trio.sleep(0.2)
        assert heard_by(session) == caller.spoken
        assert session.fed_at == sorted(session.fed_at)
        first = next(at for pcm, at in zip(session.fed, session.fed_at, strict=True) if any(pcm))
        assert first - session.fed_at[0] == pytest.approx(LEAD_SECONDS, abs=0.05), "and not what was said before it"
        assert session.told == []
        assert sounds(scene, since) == b"", "nobody talks into it"


@broken
async def test_words_that_were_lost_with_their_session_are_heard_again(
    break_off: Break, autojump_clock: MockClock
) -> None:
    async with greeted() as scene:
        await trio.sleep(2.0)
        caller, since = CallerVoice(scene), trio.current_time()
        await caller.speak(1.5)
        await trio.sleep(0.3)
        scene.session.emit(tells.CallerSpeechStarted(since), tells.CallerSpeechEnded(trio.current_time(), since + 1.5))
        await trio.sleep(0.1)
        await break_off(scene)
        session = await next_session(scene)
        await trio.sleep(1.0)
        assert heard_by(session) == caller.spoken
        assert "resume" not in session.told, "it hears the turn itself"
        assert sounds(scene, since) == HOLD_MESSAGES[0]


@broken
async def test_one_that_fails_in_mid_utterance_is_heard_as_far_as_it_came_and_gone_on_with(
    break_off: Break, autojump_clock: MockClock
) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await trio.sleep(0.1)
        since = trio.current_time()
        came = await scene.session.utter("We open at nine,", seconds=1.5, whole=False)
        await trio.sleep(0.5)
        await break_off(scene)
        session = await next_session(scene)
        await scene.until(lambda: session.told == ["resume"])
        assert session.resumed_from == [GREETING, "What are your hours?", "We open at nine,"], "what was heard by then"
        await scene.speaking("and close at five.", seconds=1.0)
        await trio.sleep(4.0)
        assert sounds(scene, since) == came + HOLD_MESSAGES[0] + voice(1.0, seed=session.utterances)
        assert scene.agent_turns == [GREETING, "We open at nine,", "and close at five."]


async def test_words_that_outlast_the_audio_that_came_were_not_heard(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await trio.sleep(0.1)
        await scene.session.utter("We open at nine in the morning, and close at five.", seconds=1.0, whole=False)
        await trio.sleep(0.5)
        await break_by_event(scene)
        await next_session(scene)
        await trio.sleep(3.0)
        assert scene.agent_turns == [GREETING, "We open at"]


async def test_with_files_it_goes_the_same_way(autojump_clock: MockClock) -> None:
    async with greeted(mode=Mode.FILE) as scene:
        turn(scene, "What are your hours?")
        await scene.session.utter("We open at nine,", whole=False)
        await trio.sleep(0.5)
        scene.session.emit(tells.Ended("the connection broke"))
        session = await next_session(scene)
        await scene.until(lambda: session.told == ["resume"])
        await session.utter("and close at five.")
        await trio.sleep(5.0)
        heard = [entry.removeprefix("play ") for entry in scene.file.log if entry.startswith("play ")]
        assert heard == [GREETING, "We open at nine,", HOLD_MESSAGE, "and close at five."]
        assert scene.agent_turns == [GREETING, "We open at nine,", "and close at five."]


async def test_words_that_never_came_keep_the_next_session_waiting_no_longer_than_the_hold_message(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await scene.session.utter_beside("We open at nine,", late=True, whole=False)
        await trio.sleep(0.5)
        scene.session.emit(tells.Ended("the connection broke"))
        session = await next_session(scene)
        await trio.sleep(0.5 + 0.6 + 0.5)
        assert session.told == ["resume"]


async def test_a_caller_who_speaks_before_an_answer_is_resumed_wants_another_one(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await scene.session.utter("We open at nine,", seconds=3.0, whole=False)
        await trio.sleep(0.5)
        scene.session.emit(tells.Ended("the connection broke"))
        session = await next_session(scene)
        now = trio.current_time()
        session.emit(tells.CallerSpeechStarted(now), tells.CallerTakesTurn(now))
        await trio.sleep(5.0)
        assert "resume" not in session.told


async def test_what_is_heard_again_comes_at_once_with_the_times_at_which_it_was_said(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        await trio.sleep(2.0)
        since = trio.current_time()
        await CallerVoice(scene).speak(3.0)
        scene.session.emit(tells.CallerSpeechStarted(since))
        await trio.sleep(0.1)
        scene.session.emit(tells.Ended("the connection broke"))
        session = await next_session(scene)
        await trio.sleep(0.2)
        assert len(heard_by(session)) == 150
        first = next(at for pcm, at in zip(session.fed, session.fed_at, strict=True) if any(pcm))
        assert first == pytest.approx(since, abs=0.05)
        assert session.fed_at == sorted(session.fed_at)


@pytest.mark.parametrize("loss", ["it fails", "it falls mute"])
async def test_an_answer_that_is_to_be_resumed_is_owed_whoever_fails(loss: str, autojump_clock: MockClock) -> None:
    async with greeted(FakeAgent(), FakeAgent(capabilities=PROBED, lively=False), FakeAgent()) as scene:
        turn(scene, "What are your hours?")
        await scene.session.utter("We open at nine,", whole=False)
        await trio.sleep(0.5)
        scene.session.fail(ProviderRejected("the key was withdrawn"))
        second = await next_session(scene)
        await scene.until(lambda: "resume" in second.told)
        if loss == "it fails":
            second.fail(ProviderRejected("bad key"))
        third = await next_session(scene, TIMES.mute_after + SOON)
        assert third is scene.agents[2].session
        await scene.until(lambda: "resume" in third.told)


async def test_a_word_that_was_beginning_is_not_lost(autojump_clock: MockClock) -> None:
    """The session has said nothing of the caller's voice yet when it fails."""
    async with greeted() as scene:
        await trio.sleep(2.0)
        caller = CallerVoice(scene)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.speak)
            await trio.sleep(0.2)
            scene.session.emit(tells.Ended("the connection broke"))
            session = await next_session(scene)
            await trio.sleep(1.0)
            caller.stopped = True
        await trio.sleep(0.2)
        assert heard_by(session) == caller.spoken


def first_session(scene: Scene, **manner: Any) -> None:
    """The first session that opens is like this; the ones after it are as ever."""

    def take(session: FakeSession) -> None:
        for name, value in manner.items() if not scene.sessions else ():
            setattr(session, name, value)
        scene.sessions.append(session)

    for agent in scene.agents:
        agent.on_session = take


@broken
async def test_one_that_fails_during_the_greeting_is_replaced_by_one_that_greets(
    break_off: Break, autojump_clock: MockClock
) -> None:
    scene = scene_of()
    first_session(scene, halting=True)
    async with running(scene):
        await scene.live()
        await trio.sleep(0.2)
        await break_off(scene)
        session = await next_session(scene)
        await trio.sleep(3.0)
        assert session.said == [GREETING]
        assert sounds(scene) == voice(1.0, seed=1) + voice(1.0, seed=session.utterances)
        assert "resume" not in session.told
        scene.hang_up()


async def test_a_greeting_that_was_not_even_begun_is_said_by_the_next_session(autojump_clock: MockClock) -> None:
    scene = scene_of()
    first_session(scene, slow_to_say=60.0)
    async with running(scene):
        await scene.until(lambda: scene.sessions and scene.session.said == [GREETING])
        await trio.sleep(0.5)
        scene.session.emit(tells.Ended("the connection broke"))
        session = await next_session(scene)
        await trio.sleep(20.0)
        assert session.said == [GREETING]
        assert scene.agent_turns == [GREETING]
        scene.hang_up()


@broken
async def test_words_that_a_filler_has_followed_are_answered_and_not_heard_twice(
    break_off: Break, autojump_clock: MockClock
) -> None:
    async with greeted() as scene:
        await trio.sleep(2.0)
        since = trio.current_time()
        await CallerVoice(scene).speak(1.0)
        scene.session.emit(tells.CallerSpeechStarted(since), tells.CallerSpeechEnded(trio.current_time(), since + 1.0))
        await trio.sleep(0.1)
        scene.call.history.caller_said("What are your hours?")
        scene.session.emit(tells.CallerText("What are your hours?"))
        await scene.session.utter("Let me see.", aside=True)
        await trio.sleep(2.0)
        assert scene.call.answer_due
        await break_off(scene)
        session = await next_session(scene)
        await trio.sleep(1.0)
        assert "resume" in session.told
        assert heard_by(session) == []


async def test_an_answer_that_failed_is_given_by_another_agent(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        await trio.sleep(0.1)
        first, since = scene.session, trio.current_time()
        first.emit(tells.AnswerFailed("the model is overloaded"))
        session = await next_session(scene)
        assert session is scene.agents[1].session, "the first one has just said that it cannot"
        await scene.until(lambda: session.told == ["resume"])
        await trio.sleep(1.0)
        assert sounds(scene, since) == HOLD_MESSAGES[1]


async def test_an_answer_that_failed_where_there_is_no_other_agent_leaves_the_session_as_it_is(
    autojump_clock: MockClock,
) -> None:
    async with greeted(FakeAgent()) as scene:
        turn(scene, "What are your hours?")
        with structlog.testing.capture_logs() as logs:
            scene.session.emit(tells.AnswerFailed("the model is overloaded"))
            await trio.sleep(20.0)
        assert not scene.call.answer_due
        assert opened(scene) == [1]
        assert [log["error"] for log in logs if log["event"] == "an answer failed"] == ["the model is overloaded"]


async def test_a_caller_whom_nobody_can_answer_is_asked_to_say_it_again(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(), failover=attrs.evolve(TIMES, apology="Please say it again."))
    apology = voice(1.0, seed=77)
    scene.call.candidates[0].spoken["Please say it again."] = (Audio(0, 0, apology, RATE),)  # type: ignore[index]
    async with running(scene):
        await scene.greeted()
        turn(scene, "What are your hours?")
        await trio.sleep(0.1)
        since = trio.current_time()
        scene.session.emit(tells.AnswerFailed("the model is overloaded"))
        await trio.sleep(3.0)
        assert sounds(scene, since) == apology
        assert scene.agent_turns[-1] == "Please say it again."
        scene.hang_up()


async def test_the_log_lines_of_every_task_name_the_agent_that_serves_now(autojump_clock: MockClock) -> None:
    begin_call_fields(call_id="1700000000.1", agent="first")
    with structlog.testing.capture_logs(processors=[merge_contextvars, merge_call_fields]) as logs:
        async with greeted() as scene:
            turn(scene, "What are your hours?")
            await trio.sleep(0.1)
            scene.session.emit(tells.AnswerFailed("the model is overloaded"))
            session = await next_session(scene)
            await trio.sleep(2.0)
            before = len(logs)
            await session.utter("We open at nine.")
            await trio.sleep(3.0)
    after = [log for log in logs[before:] if log["event"] in ("state", "answer", "utterance heard")]
    assert {log["event"] for log in after} == {"state", "answer", "utterance heard"}
    assert {log["agent"] for log in after} == {"second"}
    assert {log["agent"] for log in logs[:before] if log["event"] == "utterance heard"} >= {"first"}


async def test_a_refusal_in_the_call_is_no_reason_to_ask_again(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        scene.session.fail(ProviderRejected("the key was withdrawn"))
        await next_session(scene)
        assert opened(scene) == [1, 1]
        assert scene.agent.breaker.circuit(trio.current_time()) is Circuit.OPEN


async def test_a_session_that_does_not_even_close_delays_nobody(autojump_clock: MockClock) -> None:
    async with greeted(FakeAgent(closing=30.0), FakeAgent()) as scene:
        scene.session.emit(tells.Ended("gone"))
        await next_session(scene)


@broken
async def test_a_call_that_is_ending_needs_no_other_session(break_off: Break, autojump_clock: MockClock) -> None:
    scene = scene_of()
    async with running(scene):
        await scene.greeted()
        turn(scene, "Goodbye")
        await scene.session.utter("Goodbye then", whole=False)
        await trio.sleep(0.2)
        scene.call._inbox.post(DepartureRequested(Result.COMPLETED))
        await trio.sleep(0.2)
        await break_off(scene)
    assert scene.left_with == "completed"
    assert opened(scene) == [1, 0]
    assert scene.agent_turns == [GREETING, "Goodbye then"], "what came is heard to its end"
    assert HOLD_MESSAGES[0] not in sounds(scene)


# --- a session that falls mute


def mute_scene(capabilities: Any = PROBED, *, lively: bool = False, **settings: Any) -> Scene:
    return scene_of(FakeAgent(capabilities=capabilities, lively=lively), FakeAgent(), **settings)


async def test_one_that_gives_no_sign_of_life_is_replaced_within_its_time(autojump_clock: MockClock) -> None:
    scene = mute_scene()
    async with running(scene):
        await scene.greeted()
        await trio.sleep(5.0)
        assert "probe" not in scene.session.told, "nobody waits for it"
        turn(scene, "What are your hours?")
        asked, first = trio.current_time(), scene.session
        session = await next_session(scene, TIMES.mute_after + SOON)
        assert trio.current_time() - asked == pytest.approx(TIMES.mute_after, abs=0.25)
        assert first.told.count("probe") == 1
        assert session is scene.agents[1].session, "the mute one is asked last"
        await scene.until(lambda: "resume" in session.told)
        assert scene.sample("failovers_total", agent="first", cause="mute") == 1
        scene.hang_up()


async def test_one_that_falls_mute_in_mid_utterance_is_replaced_once_what_came_is_heard(
    autojump_clock: MockClock,
) -> None:
    scene = mute_scene()
    async with running(scene):
        await scene.greeted()
        turn(scene, "What are your hours?")
        await scene.session.utter("We open at nine,", seconds=3.0, whole=False)
        await trio.sleep(0.1)
        dry_at = trio.current_time() + 3.0
        session = await next_session(scene, 3.0 + TIMES.mute_after + SOON)
        assert trio.current_time() <= dry_at + TIMES.mute_after + SOON
        await scene.until(lambda: "resume" in session.told)
        await trio.sleep(2.0)
        assert scene.agent_turns == [GREETING, "We open at nine,"]
        scene.hang_up()


async def test_one_that_is_alive_is_left_alone_while_it_is_slow_and_not_for_ever(autojump_clock: MockClock) -> None:
    scene = mute_scene(lively=True)
    async with running(scene):
        await scene.greeted()
        turn(scene, "What are your hours?")
        asked, first = trio.current_time(), scene.session
        await trio.sleep(STUCK_SECONDS - 0.3)
        assert opened(scene) == [1, 0]
        assert first.told.count("probe") >= 5
        await next_session(scene, 0.3 + SOON)
        assert trio.current_time() - asked == pytest.approx(STUCK_SECONDS, abs=0.3)
        scene.hang_up()


async def test_one_that_shows_progress_is_never_stuck(autojump_clock: MockClock) -> None:
    scene = mute_scene(lively=True)
    async with running(scene):
        await scene.greeted()
        turn(scene, "What are your hours?")
        for _ in range(10):
            await trio.sleep(STUCK_SECONDS / 2)
            scene.session.emit(tells.Thinking())
        assert opened(scene) == [1, 0]
        scene.hang_up()


async def test_one_that_cannot_be_probed_is_not_and_is_replaced_when_it_is_stuck(autojump_clock: MockClock) -> None:
    scene = mute_scene(CAPABLE)
    async with running(scene):
        await scene.greeted()
        turn(scene, "What are your hours?")
        first = scene.session
        await trio.sleep(STUCK_SECONDS - 0.3)
        assert opened(scene) == [1, 0]
        await next_session(scene, 0.3 + SOON)
        assert "probe" not in first.told
        scene.hang_up()


async def test_a_caller_who_is_not_noticed_is_heard_by_another_one(autojump_clock: MockClock) -> None:
    scene = mute_scene()
    async with running(scene):
        await scene.greeted()
        await trio.sleep(2.0)
        caller, since = CallerVoice(scene), trio.current_time()
        await caller.speak(1.5)
        silent_since = trio.current_time()
        session = await next_session(scene, 5.0)
        assert trio.current_time() - silent_since == pytest.approx(PROBED.longest_pause + TIMES.mute_after, abs=0.25)
        await trio.sleep(1.0)
        assert heard_by(session) == caller.spoken
        assert sounds(scene, since) == HOLD_MESSAGES[1]
        scene.hang_up()


async def test_a_sound_that_a_living_provider_takes_no_notice_of_is_nothing(autojump_clock: MockClock) -> None:
    scene = mute_scene(lively=True)
    async with running(scene):
        await scene.greeted()
        await CallerVoice(scene).speak(1.5)
        await trio.sleep(30.0)
        assert "probe" in scene.session.told
        assert opened(scene) == [1, 0]
        scene.hang_up()


async def test_a_session_whose_answer_was_interrupted_and_never_ended_is_not_mute(autojump_clock: MockClock) -> None:
    scene = mute_scene(CAPABLE)
    async with running(scene):
        await scene.greeted()
        turn(scene, "What are your hours?")
        await scene.session.utter("We open at nine,", seconds=3.0, whole=False)
        await trio.sleep(1.0)
        now = trio.current_time()
        scene.session.emit(
            tells.CallerSpeechStarted(now), tells.CallerTakesTurn(now), tells.CallerSpeechEnded(now, now)
        )
        scene.session.emit(tells.NothingToSay("a cough"))
        await trio.sleep(3 * STUCK_SECONDS)
        assert opened(scene) == [1, 0]
        scene.hang_up()


# --- how often


async def test_an_agent_that_breaks_again_and_again_is_left_after_its_reconnects(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        for _ in range(RECONNECTS + 1):
            turn(scene, "And then?")
            await scene.speaking("This.", seconds=1.0)
            await trio.sleep(2.0)
            scene.session.emit(tells.Ended("the connection broke"))
            await next_session(scene)
        assert opened(scene) == [RECONNECTS + 1, 1]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_agents_that_accept_and_fail_at_once_do_not_keep_the_caller(
    count: int, autojump_clock: MockClock
) -> None:
    agents = [FakeAgent() for _ in range(count)]
    scene = scene_of(*agents)
    for agent in agents:
        agent.on_session = lambda session: (scene.sessions.append(session), session.emit(tells.Ended("internal error")))
    async with running(scene):
        pass
    assert scene.left_with == "failed:agent"
    assert scene.announced == ["sound:sorry"]
    assert opened(scene) == [MOST_FRUITLESS] * count
    assert trio.current_time() < 3.0


async def test_an_agent_that_begins_answers_and_dies_over_them_does_not_keep_the_caller(
    autojump_clock: MockClock,
) -> None:
    scene = scene_of(FakeAgent())

    async def die(session: FakeSession) -> None:
        await session.utter("Well,", seconds=0.2, whole=False)
        session.emit(tells.Ended("internal error"))

    async with running(scene), trio.open_nursery() as nursery:
        await scene.greeted()
        turn(scene, "What are your hours?")
        await trio.sleep(0.1)
        scene.agent.on_session = lambda session: nursery.start_soon(die, session)
        scene.session.emit(tells.Ended("internal error"))
        await trio.sleep(30.0)
        asked = scene.agent.opened
        scene.hang_up()
    assert asked < 10


# --- renewal


async def test_a_session_that_must_end_is_renewed_in_a_quiet_moment(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        turn(scene, "What are your hours?")
        first = scene.session
        first.emit(tells.RenewalDue(60.0))
        await trio.sleep(3.0)
        assert opened(scene) == [1, 0], "an answer is due"
        await first.utter("Nine to five.")
        await trio.sleep(0.5)
        assert opened(scene) == [1, 0], "it is being heard"
        session = await next_session(scene, 2.0)
        since = trio.current_time()
        await trio.sleep(1.0)
        assert opened(scene) == [2, 0]
        assert scene.agent.closed == 1
        assert scene.agent.histories[-1] == [GREETING, "What are your hours?", "Nine to five."]
        assert (session.told, session.said, sounds(scene, since)) == ([], [], b"")
        assert scene.sample("failovers_total", agent="first", cause="ended") == 0
        turn(scene, "Thanks")
        await scene.until(lambda: session.told == ["answer"])


async def test_without_a_quiet_moment_nothing_happens_until_the_old_one_ends(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        scene.session.emit(tells.CallerSpeechStarted(trio.current_time()))
        await scene.until(lambda: scene.call.caller_speaks)
        scene.session.emit(tells.RenewalDue(5.0))
        await trio.sleep(6.0)
        scene.session.emit(tells.CallerSpeechDismissed("noise"))
        await trio.sleep(5.0)
        assert opened(scene) == [1, 0]
        scene.session.emit(tells.Ended("60 minutes are over"))
        await next_session(scene)


async def test_a_renewal_that_fails_leaves_the_session_that_there_is(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        scene.agent.opening = failing(ProviderUnavailable("no route"))
        scene.session.emit(tells.RenewalDue(60.0))
        await trio.sleep(10.0)
        assert opened(scene) == [2, 0]
        turn(scene, "Are you there?")
        await scene.until(lambda: scene.session.told == ["answer"])


async def test_a_renewal_that_becomes_due_while_another_one_is_failing_is_not_lost(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        scene.agent.opening = failing(ProviderUnavailable("no route"), after=1.0)
        scene.session.emit(tells.RenewalDue(60.0))
        await scene.until(lambda: opened(scene) == [2, 0])
        await trio.sleep(0.5)
        scene.session.emit(tells.RenewalDue(60.0))
        scene.agent.opening = trio.lowlevel.checkpoint
        await next_session(scene, 2.0)
        await trio.sleep(10.0)
        assert opened(scene) == [3, 0]


async def test_a_caller_who_begins_to_speak_while_the_next_session_opens_loses_no_word(
    autojump_clock: MockClock,
) -> None:
    async with greeted() as scene:
        await trio.sleep(1.0)
        scene.agent.opening = partial(trio.sleep, 1.0)
        caller = CallerVoice(scene)
        scene.session.emit(tells.RenewalDue(60.0))
        async with trio.open_nursery() as nursery:
            await trio.sleep(0.3)
            nursery.start_soon(caller.speak)
            await trio.sleep(0.2)
            scene.session.emit(tells.CallerSpeechStarted(trio.current_time() - 0.2))
            session = await next_session(scene, 2.0)
            await trio.sleep(1.0)
            caller.stopped = True
        await trio.sleep(0.2)
        assert heard_by(session) == caller.spoken


async def test_a_renewal_is_asked_for_once_however_often_it_is_told(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        scene.session.emit(*[tells.RenewalDue(60.0)] * 5)
        await trio.sleep(5.0)
        assert opened(scene) == [2, 0]
        assert scene.agent.closed == 1


async def test_a_session_that_is_lost_before_its_renewal_needs_none(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        scene.session.emit(tells.CallerSpeechStarted(trio.current_time()))
        await scene.until(lambda: scene.call.caller_speaks)
        scene.session.emit(tells.RenewalDue(60.0))
        await trio.sleep(1.0)
        scene.session.emit(tells.Ended("gone"))
        await next_session(scene)
        await trio.sleep(120.0)
        assert opened(scene) == [2, 0]
        assert scene.agent.closed == 1


# --- words of agentd's own


async def test_what_a_session_will_not_say_is_said_from_what_was_spoken_beforehand(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(refuses=True), phrases={Phrase.GREETING: HOLD_MESSAGE})
    async with running(scene):
        await trio.sleep(2.0)
        assert scene.session.said == [HOLD_MESSAGE]
        assert sounds(scene) == HOLD_MESSAGES[0]
        assert scene.agent_turns == [HOLD_MESSAGE], "the caller has heard it: it is a part of the conversation"
        scene.hang_up()


async def test_what_must_be_exact_is_not_left_to_a_session_that_does_not_speak_verbatim(
    autojump_clock: MockClock,
) -> None:
    scene = scene_of(FakeAgent(capabilities=REALTIME), phrases={Phrase.GREETING: HOLD_MESSAGE})
    async with running(scene):
        await trio.sleep(2.0)
        assert scene.session.said == []
        assert sounds(scene) == HOLD_MESSAGES[0]
        assert scene.agent_turns == [HOLD_MESSAGE]
        assert scene.session.begun == [1], "so that it knows what a sound of the caller's may interrupt"
        scene.hang_up()


async def test_words_that_nobody_can_say_are_told_to_the_operator(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(refuses=True))
    with structlog.testing.capture_logs() as logs:
        async with running(scene):
            await trio.sleep(2.0)
            assert sounds(scene) == b""
            scene.hang_up()
    assert [log["words"] for log in logs if log["event"] == "words could not be said"] == [GREETING]


async def test_own_words_that_come_while_the_agent_speaks_are_heard_after_it(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(capabilities=REALTIME), phrases={})
    async with running(scene), trio.open_nursery() as nursery:
        await scene.until(lambda: scene.sessions)
        session, since = scene.session, trio.current_time()
        first = await session.utter("We open at nine,", whole=False)
        nursery.start_soon(scene.call._keeper.say, HOLD_MESSAGE)
        await trio.sleep(0.5)
        second = await session.go_on("and close at five.")
        await trio.sleep(4.0)
        assert sounds(scene, since) == first + second + HOLD_MESSAGES[0]
        assert scene.agent_turns == ["We open at nine, and close at five.", HOLD_MESSAGE]
        scene.hang_up()


# --- words that come beside the audio


WORDS = "one two three four five six seven eight nine ten"


async def test_words_beside_the_audio_are_what_was_heard(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(), phrases={})
    async with running(scene):
        await scene.until(lambda: scene.sessions)
        await scene.session.utter_beside(WORDS, 2.0)
        await trio.sleep(3.0)
        assert scene.agent_turns == [WORDS]
        scene.hang_up()


async def test_they_are_cut_by_time_where_they_were_interrupted(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(), phrases={})
    async with running(scene):
        await scene.until(lambda: scene.sessions)
        await scene.session.utter_beside(WORDS, 4.0)
        await scene.until(lambda: scene.session.begun)
        await trio.sleep(2.0)
        now = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(now), tells.CallerTakesTurn(now))
        await trio.sleep(1.0)
        (agent_turn,) = [turn for turn in scene.call.history.turns if turn.speaker is Speaker.AGENT]
        assert agent_turn.text in ("one two three four five", "one two three four", "one two three four five six")
        assert agent_turn.generated == WORDS
        scene.hang_up()


async def test_words_that_come_late_complete_the_turn_in_its_place(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(), phrases={})
    async with running(scene):
        await scene.until(lambda: scene.sessions)
        await scene.session.utter_beside(WORDS, 1.0, late=True)
        await trio.sleep(2.0)
        scene.call.history.caller_said("I see.")
        for word in WORDS.split():
            scene.session.tell_words(f"{word} ")
        await trio.sleep(0.1)
        assert [turn.text for turn in scene.call.history.turns] == [WORDS, "I see."]
        scene.hang_up()


async def test_words_that_come_late_to_an_interrupted_answer_are_cut_too(autojump_clock: MockClock) -> None:
    scene = scene_of(FakeAgent(), phrases={})
    async with running(scene):
        await scene.until(lambda: scene.sessions)
        await scene.session.utter_beside(WORDS, 4.0, late=True)
        await scene.until(lambda: scene.session.begun)
        await trio.sleep(2.0)
        now = trio.current_time()
        scene.session.emit(tells.CallerSpeechStarted(now), tells.CallerTakesTurn(now))
        await trio.sleep(0.5)
        scene.session.tell_words(WORDS)
        await trio.sleep(0.1)
        assert 4 <= len(scene.agent_turns[0].split()) <= 6
        assert WORDS.startswith(scene.agent_turns[0])
        scene.hang_up()


# --- nothing is left, wherever the hang-up comes


async def story(scene: Scene) -> None:
    """A call that goes through its agents: an answer cut short, a renewal, a mute session, the end."""
    await scene.live()
    await scene.until(lambda: scene.session.reports)
    turn(scene, "What are your hours?")
    await scene.session.utter("We open", seconds=0.8, whole=False)
    await trio.sleep(0.1)
    scene.session.fail(ProviderUnavailable("the connection broke"))
    await next_session(scene, 2.0)
    await scene.session.utter("at nine.", seconds=0.2)
    await trio.sleep(1.5)
    scene.session.emit(tells.RenewalDue(60.0))
    await next_session(scene, 2.0)
    scene.session.lively = False
    turn(scene, "And then?")
    await next_session(scene, 3.0)
    await scene.session.utter("Goodbye", seconds=0.2)
    scene.session.emit(tells.Ended())


async def play_story(act: Act, at: float) -> tuple[Scene, int]:
    slow = partial(FakeAgent, partial(trio.sleep, 0.1), closing=0.05, capabilities=PROBED)
    scene = scene_of(slow(), slow())
    return scene, await play(scene, story, act, at)


async def test_the_story_itself_comes_to_its_end(autojump_clock: MockClock) -> None:
    scene, situations = await play_story(lambda scene, scope: None, float("inf"))
    assert scene.left_with == "completed"
    assert opened(scene) == [3, 1]
    assert scene.agent_turns == [GREETING, "We open", "at nine.", "Goodbye"]
    assert situations > SITUATIONS[-1]


async def test_a_hang_up_at_any_step_leaves_nothing(autojump_clock: MockClock) -> None:
    for at in SITUATIONS:
        await play_story(lambda scene, scope: scene.hang_up(), at)


async def test_a_cancellation_at_any_step_leaves_nothing(autojump_clock: MockClock) -> None:
    for at in SITUATIONS:
        await play_story(lambda scene, scope: scope.cancel(), at)


SITUATIONS = range(1, 330, 6)
"""A sample of those of the story, from its first to its last."""
