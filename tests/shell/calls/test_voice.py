"""The agent's voice in one call: what is told to conversation, session and history while utterances are played."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.agent import Audio, SegmentStart, UtteranceEnd
from agentd.calls.figures import CallFigures
from agentd.calls.voice import MOST_WORDS, OPEN_PATIENCE, REMEMBERED, AgentVoice
from agentd.conversation import events as happens
from agentd.history import History
from agentd.metrics import Metrics
from agentd.playback.downstream import Downstream
from agentd.playout import PlayoutBuffer
from agentd.testing._playback import FakePlayback
from tests.shell.fakes import FakeSession

NOTICE = "This call is recorded."


@attrs.define(eq=False)
class Stage:
    """A voice, who plays it, and who listens to what it tells."""

    log_transcripts: bool = False
    playback: FakePlayback = attrs.field(factory=FakePlayback)
    playout: PlayoutBuffer = attrs.field(factory=PlayoutBuffer)
    history: History = attrs.field(factory=History)
    metrics: Metrics = attrs.field(factory=Metrics)
    told: list[object] = attrs.field(factory=list)
    figures: CallFigures = attrs.field(init=False)
    session: FakeSession = attrs.field(init=False)
    voice: AgentVoice = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.figures = CallFigures(self.metrics)
        self.session = FakeSession(self.history, self.playout)
        self.voice = AgentVoice(
            self.playout,
            Downstream(file=self.playback),  # type: ignore[arg-type]
            self.history,
            self.figures,
            (NOTICE,),
            self.log_transcripts,
            tell=self.told.append,
            session=self.session,
        )

    async def utter(self, *segments: str, aside: bool = False) -> None:
        """The session speaks, and the figures have read its events."""
        await self.session.utter(*segments, aside=aside)
        while self.session.events.statistics().current_buffer_used:
            self.figures.on_session(self.session.events.receive_nowait())

    async def interrupt(self) -> None:
        self.playout.interrupt()
        await self.playback.stop()

    @property
    def turns(self) -> list[str]:
        return [turn.text for turn in self.history.turns]


@asynccontextmanager
async def speaking(stage: Stage) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.voice.run)
        yield stage
        nursery.cancel_scope.cancel()
    assert stage.playback.playing == 0


async def test_utterances_are_played_one_after_the_other(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("One")
    await stage.utter("Two")
    async with speaking(stage):
        await trio.sleep(3.0)
    assert stage.told == [
        happens.PlaybackStarted(1),
        happens.PlaybackFinished(1, idle=False),
        happens.PlaybackStarted(2),
        happens.PlaybackFinished(2, idle=True),
    ]
    assert stage.turns == ["One", "Two"]
    assert stage.session.begun == [1, 2]
    assert stage.session.reports == [(1, 1000, True), (2, 1000, True)]


async def test_what_was_heard_goes_into_the_history_when_it_is_over(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("One two three four five six seven eight")
    async with speaking(stage):
        await trio.sleep(0.5)
        assert stage.turns == [""]
        await stage.interrupt()
        await trio.sleep(0.1)
    assert stage.turns == ["One two three four"]
    assert stage.history.turns[0].generated == "One two three four five six seven eight"
    assert stage.session.reports == [(1, 500, False)]


async def test_an_utterance_that_is_thrown_away_before_it_is_heard_leaves_no_turn(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with speaking(stage):
        await stage.utter("Never mind")
        stage.playout.interrupt()
        await trio.sleep(2.0)
    assert stage.turns == []
    assert happens.PlaybackStarted(1) not in stage.told


async def test_words_that_are_no_answer_are_told_as_an_aside_and_are_no_response(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.figures.on_session(tells.CallerSpeechEnded(0.0, 0.0))
    await stage.utter("One moment, please.", aside=True)
    await stage.utter("The answer.")
    async with speaking(stage):
        await trio.sleep(3.0)
    assert [event for event in stage.told if not isinstance(event, happens.PlaybackFinished)] == [
        happens.AsideStarted(1),
        happens.PlaybackStarted(2),
    ]
    assert stage.turns == ["One moment, please.", "The answer."]
    assert stage.metrics.registry.get_sample_value("agentd_response_seconds_sum") == pytest.approx(1.0)


# --- protection


async def test_a_segment_that_must_be_heard_is_protected_for_as_long_as_it_is_heard(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.playback.seconds = 3.0
    times: list[tuple[float, object]] = []
    stage.voice.tell = lambda event: times.append((trio.current_time(), event))
    await stage.utter("Hello.", f"Please note: {NOTICE}", "How can I help?")
    async with speaking(stage):
        await trio.sleep(4.0)
    assert times == [
        (0.0, happens.PlaybackStarted(1)),
        (pytest.approx(1.0), happens.ProtectionBegan()),
        (pytest.approx(2.0), happens.ProtectionEnded()),
        (pytest.approx(3.0), happens.PlaybackFinished(1, idle=True)),
    ]


async def test_protected_segments_that_follow_each_other_are_one_protection(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter(NOTICE, NOTICE)
    async with speaking(stage):
        await trio.sleep(2.0)
    assert [type(event) for event in stage.told] == [
        happens.PlaybackStarted,
        happens.ProtectionBegan,
        happens.PlaybackFinished,
        happens.ProtectionEnded,
    ], "what was heard to its end was not interrupted by the end of its protection"


async def test_protection_ends_with_its_utterance_also_when_that_is_stopped(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter(NOTICE)
    async with speaking(stage):
        await trio.sleep(0.5)
        await stage.interrupt()
        await trio.sleep(0.1)
        await stage.utter("Hello.")
        await trio.sleep(2.0)
    assert [type(event) for event in stage.told].count(happens.ProtectionEnded) == 1
    assert stage.told.index(happens.ProtectionEnded()) < stage.told.index(happens.PlaybackStarted(2))


async def test_the_clauses_of_a_protected_sentence_are_protected_too(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("This call is", "and nobody minds.")
    async with speaking(stage):
        await trio.sleep(2.0)
    assert [event for event in stage.told if isinstance(event, happens.ProtectionBegan | happens.ProtectionEnded)] == [
        happens.ProtectionBegan(),
        happens.ProtectionEnded(),
    ]


async def test_a_text_that_only_resembles_is_not_protected(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("This call was", "recorded.", "this call is recorded.")
    async with speaking(stage):
        await trio.sleep(2.0)
    assert happens.ProtectionBegan() not in stage.told


# --- its end


async def test_an_utterance_that_cannot_be_played_is_told_and_ends_the_voice(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.playback.failure = "Asterisk cannot read the directory"
    await stage.utter("Hello.")
    await stage.voice.run()
    assert stage.told == [happens.MediaFailed("Asterisk cannot read the directory")]
    with trio.fail_after(1.0):
        await stage.voice.finish()


async def test_to_finish_is_to_have_played_everything_that_waits(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("One")
    await stage.utter("Two")
    async with speaking(stage):
        await stage.voice.finish()
        assert trio.current_time() == pytest.approx(2.0, abs=0.1)
        await stage.voice.finish()
        assert trio.current_time() == pytest.approx(2.0, abs=0.1), "there is nothing more to wait for"


async def begun(stage: Stage, *segments: str) -> int:
    """The session begins an utterance, and does not end it."""
    stage.session.utterances += 1
    stage.voice.on_session_event(tells.UtteranceStarted(stage.session.utterances))
    for text in segments:
        await stage.playout.put(SegmentStart(stage.playout.generation, stage.session.utterances, text))
    return stage.session.utterances


async def test_to_finish_is_to_wait_for_the_rest_of_an_utterance_too(autojump_clock: MockClock) -> None:
    stage = Stage()

    async def go_on(utterance: int) -> None:
        await trio.sleep(2.0)
        await stage.playout.put(SegmentStart(stage.playout.generation, utterance, "Goodbye"))
        await stage.playout.put(UtteranceEnd(stage.playout.generation, utterance))
        stage.voice.on_session_event(tells.UtteranceEnded(utterance))

    async with speaking(stage), trio.open_nursery() as nursery:
        nursery.start_soon(go_on, await begun(stage))
        await stage.voice.finish()
        assert trio.current_time() == pytest.approx(3.0, abs=0.1)
    assert stage.turns == ["Goodbye"]


async def test_words_that_never_come_are_not_waited_for_for_long(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with speaking(stage):
        await begun(stage)
        await stage.voice.finish()
        assert trio.current_time() == pytest.approx(OPEN_PATIENCE, abs=0.1)


async def test_what_was_said_is_heard_also_when_its_end_never_comes(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with speaking(stage):
        utterance = await begun(stage, "Goodbye")
        await stage.playout.put(Audio(stage.playout.generation, utterance, bytes(16000 * 4), 8000))
        await stage.voice.finish()
        assert trio.current_time() == pytest.approx(4.0 + OPEN_PATIENCE, abs=0.1)


@pytest.mark.parametrize("end", ["interrupted", "another session"])
async def test_the_rest_of_an_utterance_that_cannot_come_is_not_waited_for(end: str, autojump_clock: MockClock) -> None:
    stage = Stage()
    async with speaking(stage):
        await begun(stage)
        if end == "interrupted":
            stage.playout.interrupt()
        else:
            stage.voice.session = FakeSession(stage.history, stage.playout)
        await stage.voice.finish()
        assert trio.current_time() < 0.1


# --- words that come beside the audio, and words that are no part of the conversation

WORDS = "One two three four five six seven eight"


async def test_words_that_came_before_are_those_of_what_was_heard(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("")
    for word in WORDS.split():
        stage.voice.on_words(1, f"{word} ")
    async with speaking(stage):
        await trio.sleep(2.0)
    assert (stage.turns, stage.history.turns[0].generated) == ([WORDS], WORDS)


async def test_of_an_utterance_that_was_cut_short_only_so_many_words_were_heard(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.playback.seconds = 3.0
    await stage.utter("")
    stage.voice.on_words(1, WORDS)
    async with speaking(stage):
        await trio.sleep(1.0)
        await stage.interrupt()
        await trio.sleep(0.1)
    assert 2 <= len(stage.turns[0].split()) <= 4
    assert WORDS.startswith(stage.turns[0])
    assert stage.history.turns[0].generated == WORDS


async def test_words_that_come_after_complete_the_turn_as_they_come(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("")
    async with speaking(stage):
        await trio.sleep(2.0)
        assert stage.turns == [""], "its place is kept"
        stage.history.caller_said("I see.")
        stage.voice.on_words(1, "One two")
        assert stage.turns == ["One two", "I see."]
        stage.voice.on_words(1, " three")
        assert stage.turns == ["One two three", "I see."]


async def test_words_of_an_utterance_whose_segments_carry_them_change_nothing(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("One two")
    stage.voice.on_words(1, "Something else")
    async with speaking(stage):
        await trio.sleep(2.0)
        stage.voice.on_words(1, " again")
    assert stage.turns == ["One two"]


async def test_words_that_never_end_are_kept_up_to_a_length(autojump_clock: MockClock) -> None:
    stage = Stage()
    for _ in range(3):
        stage.voice.on_words(1, "x" * (MOST_WORDS - 1))
    assert stage.voice._words == {1: "x" * MOST_WORDS}
    await stage.utter("")
    async with speaking(stage):
        await trio.sleep(2.0)
    assert stage.turns == ["x" * MOST_WORDS]


async def test_words_of_long_ago_are_not_kept(autojump_clock: MockClock) -> None:
    stage = Stage()
    for number in range(1, 200):
        stage.voice.on_words(number, "word")
    assert len(stage.voice._words) <= REMEMBERED
    async with speaking(stage):
        for _ in range(3 * REMEMBERED):
            await stage.utter("")
            await trio.sleep(1.5)
    assert len(stage.voice._wordless) <= REMEMBERED


async def test_what_is_off_the_record_is_heard_and_leaves_no_turn(autojump_clock: MockClock) -> None:
    stage = Stage()
    stage.voice.leave_off_record(1)
    await stage.utter("One moment, please.", aside=True)
    async with speaking(stage):
        await trio.sleep(0.5)
        stage.voice.on_words(1, "One moment, please.")
        assert stage.turns == []
        await trio.sleep(1.0)
    assert stage.turns == []
    assert happens.AsideStarted(1) in stage.told
    assert stage.session.begun == [1], "so that a sound of the caller's may be an interruption"


async def test_a_voice_outlives_its_session(autojump_clock: MockClock) -> None:
    stage = Stage()
    await stage.utter("Goodbye")
    stage.voice.session = None
    async with speaking(stage):
        await stage.voice.finish()
    assert stage.turns == ["Goodbye"]
    assert stage.session.reports == []


@pytest.mark.parametrize("wanted", [False, True])
async def test_what_was_cut_short_is_logged_in_words_only_where_that_is_wanted(
    wanted: bool, autojump_clock: MockClock
) -> None:
    stage = Stage(log_transcripts=wanted)
    await stage.utter("A secret word")
    with structlog.testing.capture_logs() as logs:
        async with speaking(stage):
            await trio.sleep(0.5)
            await stage.interrupt()
            await trio.sleep(0.1)
    assert ("secret" in repr(logs)) is wanted
    assert [log["heard_ms"] for log in logs if log["event"] == "utterance heard"] == [500]
