"""Words that the agent takes back (a model's thoughts that were taken for its reply): what was not played yet is never
heard, and no part of the history, whatever the conversation is at; everything else stays as it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.ari.events import Channel, Hold
from tests.shell.call_scene import GREETING, Mode, Scene, frame_numbers, make_scene, running

FRAME = 320
TWO_FRAMES = 0.04
THOUGHTS = ("One two three four.", "Five six seven eight.")
ANSWER = "It is five o'clock."
NOTICE = "This call is recorded."
modes = pytest.mark.parametrize("mode", Mode)


@asynccontextmanager
async def greeted(mode: Mode = Mode.STREAM, *uninterruptible: str) -> AsyncIterator[Scene]:
    """A call whose caller has heard the greeting, and asked something."""
    scene = make_scene(mode, uninterruptible=uninterruptible)
    async with running(scene):
        await scene.greeted()
        scene.session.emit(tells.CallerSpeechStarted(1.0), tells.CallerSpeechEnded(2.0, 1.8))
        await trio.sleep(0.1)
        yield scene
        scene.hang_up()


async def answered(scene: Scene) -> None:
    """The agent's real answer is heard to its end."""
    await scene.session.utter(ANSWER)
    number = scene.session.utterances
    await scene.until(lambda: any(report[0] == number for report in scene.session.reports))
    assert scene.agent_turns[-1] == ANSWER


def heard_of(scene: Scene, spoken: bytes, since: float) -> int:
    known = frame_numbers([spoken[at : at + FRAME] for at in range(0, len(spoken), FRAME)])
    return sum(frame in known for frame in scene.line.since(since))


@modes
async def test_what_waited_behind_other_words_is_never_heard_and_they_are(
    mode: Mode, autojump_clock: MockClock
) -> None:
    async with greeted(mode) as scene:
        await scene.session.utter("One moment please.", aside=True, seconds=2.0)
        aside = scene.session.utterances
        await trio.sleep(0.2)
        since = trio.current_time()
        spoken = await scene.session.utter(*THOUGHTS)
        scene.session.emit(tells.Withdrawn(scene.session.utterances))
        await trio.sleep(5.0)
        assert [report[0] for report in scene.session.reports] == [1, aside]
        assert scene.session.reports[-1][2], "the words before it are heard to their end"
        assert heard_of(scene, spoken, since) == 0
        assert scene.agent_turns == [GREETING, "One moment please."]
        await answered(scene)


@modes
async def test_what_is_being_heard_stops_and_the_history_has_what_was_heard_and_no_word_more(
    mode: Mode, autojump_clock: MockClock
) -> None:
    async with greeted(mode) as scene:
        since = trio.current_time()
        spoken = await scene.speaking(*THOUGHTS)
        taken_back = scene.session.utterances
        await trio.sleep(0.52)
        scene.session.emit(tells.Withdrawn(taken_back))
        stopped = trio.current_time()
        await trio.sleep(3.0)
        if mode is Mode.STREAM:
            assert heard_of(scene, spoken, since) > 10
            assert heard_of(scene, spoken, stopped + TWO_FRAMES) == 0
        number, _milliseconds, completed = scene.session.reports[-1]
        assert (number, completed) == (taken_back, False)
        turn = scene.call.history.turns[-1]
        assert turn.text == turn.generated, "what was not heard is not in it"
        assert 0 < len(turn.text) < len(" ".join(THOUGHTS))
        assert scene.session.interruptions == 0
        await answered(scene)


@modes
async def test_what_still_comes_of_it_is_dropped_and_what_comes_next_is_not(
    mode: Mode, autojump_clock: MockClock
) -> None:
    async with greeted(mode) as scene:
        scene.session.emit(tells.Withdrawn(2))
        await trio.sleep(0.1)
        await scene.session.utter(*THOUGHTS)
        await trio.sleep(3.0)
        assert scene.agent_turns == [GREETING]
        await answered(scene)


@pytest.mark.parametrize("confirmed", [False, True], ids=["attenuated", "paused"])
async def test_over_a_sound_of_the_callers_the_answer_waits_until_it_was_nothing(
    confirmed: bool, autojump_clock: MockClock
) -> None:
    async with greeted() as scene:
        await scene.speaking(*THOUGHTS)
        await trio.sleep(0.52)
        scene.session.emit(tells.CallerSpeechStarted(9.0))
        if confirmed:
            scene.session.emit(tells.CallerSpeechConfirmed(9.1))
        await trio.sleep(0.2)
        scene.session.emit(tells.Withdrawn(scene.session.utterances))
        await trio.sleep(0.2)
        assert scene.session.told[-1] == "withhold"
        scene.session.emit(tells.CallerSpeechDismissed("noise"))
        await trio.sleep(0.2)
        assert scene.session.told[-1] == "answer"
        since = trio.current_time()
        spoken = await scene.session.utter(ANSWER)
        await trio.sleep(2.0)
        assert heard_of(scene, spoken, since) > 40, "and at full level: nothing of the pause is left"
        assert scene.agent_turns[-1] == ANSWER


@modes
async def test_a_sentence_that_must_be_heard_to_its_end_is_none_where_it_was_thought_and_what_is_owed_follows(
    mode: Mode, autojump_clock: MockClock
) -> None:
    async with greeted(mode, NOTICE) as scene:
        scene.file.seconds = 4.0
        since = trio.current_time()
        spoken = await scene.speaking(f"I say: {NOTICE} And then", THOUGHTS[0], seconds=4.0)
        taken_back = scene.session.utterances
        await trio.sleep(0.5)
        scene.session.emit(tells.CallerSpeechStarted(5.0), tells.CallerSpeechEnded(6.0, 5.8))
        await trio.sleep(0.2)
        assert scene.call.conversation.agent == "speaking, owing an answer"
        answers = scene.session.told.count("answer")
        scene.session.emit(tells.Withdrawn(taken_back))
        stopped = trio.current_time()
        await trio.sleep(0.3)
        assert scene.session.told.count("answer") == answers + 1
        assert scene.call.conversation.agent == "preparing"
        assert scene.call.conversation.protection == "open"
        await trio.sleep(3.0)
        if mode is Mode.STREAM:
            assert heard_of(scene, spoken, since) > 10
            assert heard_of(scene, spoken, stopped + TWO_FRAMES) == 0
        assert THOUGHTS[0] not in scene.call.history.turns[-1].generated
        await answered(scene)


@modes
@pytest.mark.parametrize("begun", [True, False], ids=["being heard", "waiting"])
async def test_on_hold_it_is_taken_back_and_not_heard_afterwards(
    mode: Mode, begun: bool, autojump_clock: MockClock
) -> None:
    async with greeted(mode) as scene:
        if begun:
            spoken = await scene.speaking(*THOUGHTS)
            await trio.sleep(0.52)
        scene.event(Hold(Channel("1700000000.1"), True))
        await trio.sleep(0.1)
        if not begun:
            spoken = await scene.session.utter(*THOUGHTS)
            await trio.sleep(0.1)
        held = trio.current_time()
        scene.session.emit(tells.Withdrawn(scene.session.utterances))
        await scene.session.utter(ANSWER)
        await trio.sleep(3.0)
        assert mode is Mode.FILE or not any(map(any, scene.line.since(held + TWO_FRAMES))), "who holds hears nothing"
        scene.event(Hold(Channel("1700000000.1"), False))
        back = trio.current_time()
        await scene.until(lambda: scene.agent_turns[-1] == ANSWER)
        assert heard_of(scene, spoken, back) == 0
        heard = scene.agent_turns[1:-1]
        assert len(heard) == (1 if begun else 0)
        assert not any("eight" in text for text in heard)


async def test_a_caller_who_interrupts_first_is_not_answered_by_what_was_taken_back(autojump_clock: MockClock) -> None:
    async with greeted() as scene:
        await scene.speaking(*THOUGHTS)
        await trio.sleep(0.52)
        number = scene.session.utterances
        scene.session.emit(tells.CallerSpeechStarted(9.0), tells.CallerTakesTurn(9.1), tells.Withdrawn(number))
        await trio.sleep(0.5)
        assert scene.call.conversation.agent == "idle"
        assert scene.session.interruptions == 1
        scene.session.emit(tells.CallerSpeechEnded(10.0, 9.8))
        await answered(scene)
