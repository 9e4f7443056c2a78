"""An agent's session of fake engines: how it takes turns, what it speaks, and what a failure does to it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentd.agent import (
    AgentText,
    Audio,
    CallerSpeechEnded,
    CallerSpeechStarted,
    CallerText,
    CallInfo,
    Degraded,
    Ended,
    History,
    NothingToSay,
    SayOutcome,
    SegmentStart,
    SessionEvent,
    Speaker,
    StageTiming,
    UtteranceEnded,
    UtteranceStarted,
)
from agentd.errors import ProviderUnavailable
from agentd.playout import PlayoutBuffer
from providers.pipeline import (
    TURN_QUEUE,
    Message,
    PipelineSession,
    PipelineSettings,
    Role,
    fill_in,
    open_pipeline,
)

E = TypeVar("E")
WINDOW_MS = 20.0
FRAME = 320
SETTINGS = PipelineSettings(
    prompt="You serve {extension}.",
    start_ms=60,
    stop_ms=100,
    max_seconds=2,
    pre_roll_ms=80,
    threshold=0.5,
    window_ms=WINDOW_MS,
    end_phrases=("goodbye", "bye bye"),
    farewell="Farewell!",
)
PAUSE = "pause"
"""In a scripted reply: the model goes on only when the test lets it."""


class Loudness:
    """A voice detector: a frame is speech if its first byte is not 0."""

    def feed(self, pcm: bytes, *, keep_open: bool) -> list[float]:
        return [1.0 if pcm[0] else 0.0]


@attrs.define(eq=False)
class FakeTranscript:
    words: str | Exception
    may_finish: trio.Event
    heard: bytearray = attrs.field(factory=bytearray)

    def feed(self, pcm: bytes) -> None:
        self.heard += pcm

    async def finish(self) -> str:
        await self.may_finish.wait()
        if isinstance(self.words, Exception):
            raise self.words
        return self.words


@attrs.define(eq=False)
class FakeTranscriber:
    """`script` is what the turns turn out to say, in order; `hold` keeps transcripts from being finished."""

    script: list[str | Exception] = attrs.field(factory=list)
    transcripts: list[FakeTranscript] = attrs.field(factory=list)
    hold: bool = False

    def begin(self) -> FakeTranscript:
        transcript = FakeTranscript(self.script.pop(0), trio.Event())
        if not self.hold:
            transcript.may_finish.set()
        self.transcripts.append(transcript)
        return transcript


@attrs.define(eq=False)
class FakeResponder:
    """`replies` are what the model says, piece by piece, in order."""

    replies: list[Sequence[str | Exception]] = attrs.field(factory=list)
    asked: list[list[Message]] = attrs.field(factory=list)
    go_on: trio.Event = attrs.field(factory=trio.Event)
    running: int = 0
    stopped: int = 0

    @asynccontextmanager
    async def respond(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[str]]:
        self.asked.append(list(messages))
        self.running += 1
        pieces = self._pieces(self.replies.pop(0))
        try:
            yield pieces
        finally:
            self.running -= 1
            self.stopped += 1
            await pieces.aclose()

    async def _pieces(self, reply: Sequence[str | Exception]) -> Any:
        for piece in reply:
            await trio.lowlevel.checkpoint()
            if isinstance(piece, Exception):
                raise piece
            if piece == PAUSE:
                await self.go_on.wait()
            else:
                yield piece

    @property
    def last_user_message(self) -> str:
        return self.asked[-1][-1].text


@attrs.define(eq=False)
class FakeVoice:
    """Speaks ten samples a character, in no time; raises the failures in `fails` first."""

    spoken: list[str] = attrs.field(factory=list)
    fails: list[Exception | None] = attrs.field(factory=list)

    async def synthesise(self, text: str, rate: int) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.fails and (failure := self.fails.pop(0)) is not None:
            raise failure
        self.spoken.append(text)
        return bytes(20 * len(text))


@attrs.define(eq=False)
class Pipeline:
    """A session and everything that it was made of; `events` is all that it told so far."""

    transcriber: FakeTranscriber = attrs.field(factory=FakeTranscriber)
    responder: FakeResponder = attrs.field(factory=FakeResponder)
    voice: FakeVoice = attrs.field(factory=FakeVoice)
    history: History = attrs.field(factory=History)
    playout: PlayoutBuffer = attrs.field(factory=PlayoutBuffer)
    settings: PipelineSettings = SETTINGS
    delays: list[float] = attrs.field(factory=list)
    events: list[SessionEvent] = attrs.field(factory=list)
    events_ended: bool = False
    frames: int = 0
    session: PipelineSession = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.session = PipelineSession(
            CallInfo("call", "100", "Alice", "600"),
            self.history,
            self.playout,
            self.settings,
            Loudness(),
            self.transcriber,
            self.responder,
            self.voice,
            self.delays.append,
        )

    def caller(self, *, speaks_ms: float = 0, silent_ms: float = 0) -> None:
        """Feed audio; every frame is told apart by its samples."""
        for length, loud in ((speaks_ms, True), (silent_ms, False)):
            for _ in range(int(length / WINDOW_MS)):
                self.frames += 1
                number = self.frames % 250 + 1
                self.session.feed(bytes([number if loud else 0, number]) * (FRAME // 2), trio.current_time())

    def caller_says(self, words: str | Exception) -> None:
        """A whole turn."""
        self.transcriber.script.append(words)
        self.caller(speaks_ms=200, silent_ms=SETTINGS.stop_ms)

    def barges_in(self) -> None:
        """What the call does when the caller goes on before anything was heard."""
        self.session.interrupt()
        self.playout.interrupt()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def said_by_caller(self) -> list[str]:
        return [turn.text for turn in self.history.turns if turn.speaker is Speaker.CALLER]

    async def listen(self) -> str:
        """Hear the next utterance to its end, as a playback would, and report it."""
        stream = await self.playout.next_utterance()
        self.history.agent_speaks(stream.utterance)
        words, seconds = [], 0.0
        while (chunk := await stream.next()) is not None:
            if isinstance(chunk, SegmentStart):
                words.append(chunk.text)
            elif isinstance(chunk, Audio):
                seconds += chunk.seconds
        text = " ".join(words)
        self.history.agent_heard(stream.utterance, text, text)
        self.session.heard(stream.utterance, round(seconds * 1000), True)
        return text

    async def collect(self) -> None:
        async for event in self.session.events:
            self.events.append(event)
        self.events_ended = True


async def idle() -> None:
    """Until every task waits for something that only the test can bring."""
    await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def running(pipeline: Pipeline) -> AsyncIterator[Pipeline]:
    """The session runs beside the block, and leaves no task."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.collect)
            async with open_pipeline(pipeline.session):
                yield pipeline
                await idle()
            nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert pipeline.responder.running == 0


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


# --- a turn and its answer


async def test_a_question_is_transcribed_answered_and_spoken_in_this_order(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["It is ", "noon already."]]
    async with running(pipeline):
        pipeline.caller_says(" What time is it? ")
        assert await pipeline.listen() == "It is noon already."
    kinds = [type(event) for event in pipeline.events if not isinstance(event, StageTiming)]
    assert kinds == [
        CallerSpeechStarted,
        CallerSpeechEnded,
        CallerText,
        UtteranceStarted,
        AgentText,
        UtteranceEnded,
    ]
    assert pipeline.of(CallerText) == [CallerText("What time is it?", final=True)]
    assert [(turn.speaker, turn.text) for turn in pipeline.history.turns] == [
        (Speaker.CALLER, "What time is it?"),
        (Speaker.AGENT, "It is noon already."),
    ]


async def test_each_stage_of_an_answer_is_timed(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    pipeline.responder.replies = [["It is noon already."]]
    async with running(pipeline):
        pipeline.caller_says("Time?")
        await pipeline.listen()
    assert [event.stage for event in pipeline.of(StageTiming)] == ["transcript", "first_token", "first_audio"]


async def test_the_end_of_speech_is_told_with_the_moment_the_caller_was_last_heard(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["Yes, of course."]]
    async with running(pipeline):
        pipeline.caller_says("Are you there?")
    (ended,) = pipeline.of(CallerSpeechEnded)
    assert ended.at - ended.last_speech_at == pytest.approx(SETTINGS.stop_ms / 1000)


async def test_audio_s_way_to_the_engine_is_measured(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    async with running(pipeline):
        arrived = trio.current_time()
        await trio.sleep(0.15)
        pipeline.session.feed(bytes(FRAME), arrived)
    assert pipeline.delays == [pytest.approx(0.15)]


async def test_the_transcriber_hears_the_pre_roll_but_no_older_audio(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["Yes, of course."]]
    pipeline.transcriber.script = ["Hello?"]
    async with running(pipeline):
        pipeline.caller(silent_ms=4000)
        before = pipeline.frames
        pipeline.caller(speaks_ms=200, silent_ms=SETTINGS.stop_ms)
    heard = pipeline.transcriber.transcripts[0].heard
    first_frame = heard[1] - 1
    assert first_frame <= before - SETTINGS.pre_roll_ms / WINDOW_MS + 1  # all that came in pre_roll_ms ...
    assert first_frame >= before - SETTINGS.pre_roll_ms / WINDOW_MS - 1  # ... and hardly more
    numbers = [heard[at + 1] for at in range(0, len(heard), FRAME)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))  # in order, none lost, none twice
    assert len(numbers) >= (SETTINGS.pre_roll_ms + 200) / WINDOW_MS


async def test_a_turn_without_end_is_ended_all_the_same(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    pipeline.transcriber.script = ["words", "more"]
    pipeline.responder.replies = [["Yes, of course."]]
    async with running(pipeline):
        pipeline.caller(speaks_ms=SETTINGS.max_seconds * 1000)
        assert len(pipeline.of(CallerSpeechEnded)) == 0
        await idle()
        assert len(pipeline.of(CallerSpeechEnded)) == 1


async def test_noise_without_words_needs_no_answer(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    async with running(pipeline):
        pipeline.caller_says("  ")
    assert [type(event) for event in pipeline.events][-1] is NothingToSay
    assert not pipeline.of(CallerText)
    assert not pipeline.history.turns
    assert not pipeline.responder.asked


async def test_noise_after_an_answer_does_not_have_the_question_answered_again(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["It is noon already."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        await pipeline.listen()
        pipeline.caller_says("")
    assert len(pipeline.responder.asked) == 1
    assert len(pipeline.of(NothingToSay)) == 1


async def test_a_model_without_words_is_nothing_to_say(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    pipeline.responder.replies = [["", " ", "***"]]
    async with running(pipeline):
        pipeline.caller_says("Hello?")
    assert len(pipeline.of(NothingToSay)) == 1
    assert not pipeline.of(UtteranceStarted)
    assert pipeline.playout.empty


# --- speaking while it is still written


async def test_the_first_clause_is_spoken_while_the_rest_is_still_written(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["Yes of course. ", PAUSE, "The train leaves at noon."]]
    async with running(pipeline):
        pipeline.caller_says("When does it leave?")
        await idle()
        assert pipeline.voice.spoken == ["Yes of course."]
        assert pipeline.playout.buffered > 0
        assert pipeline.responder.running == 1
        assert not pipeline.of(UtteranceEnded)
        pipeline.responder.go_on.set()
        assert await pipeline.listen() == "Yes of course. The train leaves at noon."
    assert [event.text for event in pipeline.of(AgentText)] == ["Yes of course.", "The train leaves at noon."]
    assert len(pipeline.of(UtteranceStarted)) == len(pipeline.of(UtteranceEnded)) == 1


async def test_audio_goes_out_at_the_rate_of_the_line_and_names_its_utterance(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["It is noon already."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        stream = await pipeline.playout.next_utterance()
        assert await stream.next() == SegmentStart(0, 1, "It is noon already.")
        audio = await stream.next()
        assert isinstance(audio, Audio)
        assert (audio.utterance, audio.rate, len(audio.pcm)) == (1, 8000, 20 * len("It is noon already."))


async def test_a_full_playout_holds_the_model_and_not_the_caller(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    pipeline.playout.seconds = 0.001
    pipeline.responder.replies = [["One sentence here. ", "Another sentence there. ", "A third one."]]
    async with running(pipeline):
        pipeline.caller_says("Tell me.")
        await idle()
        assert pipeline.responder.running == 1
        pipeline.transcriber.script.append("More?")
        pipeline.caller(speaks_ms=200)
        await idle()
        assert len(pipeline.of(CallerSpeechStarted)) == 2


# --- interruption, and callers who go on


async def test_an_interruption_stops_the_model_and_the_next_turn_is_answered(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["Well, let me see. ", PAUSE, "never said"], ["Then it is noon."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        await idle()
        pipeline.barges_in()
        await idle()
        assert pipeline.responder.stopped == 1
        assert pipeline.playout.empty
        pipeline.caller_says("In Berlin.")
        assert await pipeline.listen() == "Then it is noon."
    assert "never said" not in pipeline.voice.spoken
    assert pipeline.of(UtteranceEnded) == [UtteranceEnded(2)]


async def test_an_interruption_is_no_failure(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    pipeline.responder.replies = [[PAUSE]] * 5
    async with running(pipeline):
        for _ in range(5):
            pipeline.caller_says("Well?")
            await idle()
            pipeline.barges_in()
            await idle()
    assert pipeline.responder.stopped == 5
    assert not pipeline.of(Degraded)
    assert not pipeline.of(Ended)


async def test_what_was_transcribed_stays_said_after_an_interruption(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [[PAUSE], ["It is noon in Berlin."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        await idle()
        pipeline.barges_in()
        pipeline.caller_says("I mean in Berlin.")
        await pipeline.listen()
    assert pipeline.said_by_caller == ["What time is it? I mean in Berlin."]
    assert pipeline.responder.last_user_message == "What time is it? I mean in Berlin."


async def test_a_caller_who_goes_on_while_being_transcribed_gets_one_answer_to_all_of_it(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.transcriber.hold = True
    pipeline.responder.replies = [["It is noon in Berlin."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it")
        await idle()
        pipeline.caller_says("in Berlin?")
        for transcript in pipeline.transcriber.transcripts:
            transcript.may_finish.set()
        assert await pipeline.listen() == "It is noon in Berlin."
    assert len(pipeline.responder.asked) == 1
    assert [message.role for message in pipeline.responder.asked[0]] == [Role.SYSTEM, Role.USER]
    assert pipeline.responder.last_user_message == "What time is it in Berlin?"
    assert [event.text for event in pipeline.of(CallerText)] == ["What time is it", "in Berlin?"]


async def test_a_caller_who_has_begun_to_go_on_is_not_answered_yet(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.transcriber.hold = True
    pipeline.transcriber.script = ["What time is it", "in Berlin?"]
    pipeline.responder.replies = [["It is noon in Berlin."]]
    async with running(pipeline):
        pipeline.caller(speaks_ms=200, silent_ms=SETTINGS.stop_ms)
        pipeline.caller(speaks_ms=100)  # the turn has begun, and is not over
        pipeline.transcriber.transcripts[0].may_finish.set()
        await idle()
        assert not pipeline.responder.asked
        assert pipeline.said_by_caller == ["What time is it"]
        pipeline.caller(silent_ms=SETTINGS.stop_ms)
        pipeline.transcriber.transcripts[1].may_finish.set()
        await pipeline.listen()
    assert pipeline.responder.last_user_message == "What time is it in Berlin?"


async def test_a_question_followed_by_noise_is_still_answered(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    pipeline.transcriber.hold = True
    pipeline.responder.replies = [["It is noon already."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        pipeline.caller_says("")  # a cough
        for transcript in pipeline.transcriber.transcripts:
            transcript.may_finish.set()
        assert await pipeline.listen() == "It is noon already."
    assert not pipeline.of(NothingToSay)


async def test_turns_that_nobody_answers_are_bounded_and_the_line_is_not_held_up(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.transcriber.hold = True
    async with running(pipeline):
        for number in range(TURN_QUEUE + 3):
            pipeline.caller_says(f"turn {number}")
            await idle()
        dropped = pipeline.of(Degraded)
        assert len(dropped) == 2  # one is being answered, TURN_QUEUE wait
        assert "dropped" in dropped[0].reason
        assert len(pipeline.of(CallerSpeechEnded)) == TURN_QUEUE + 3


# --- what the model is asked


async def test_the_prompt_carries_the_call_s_own_values_and_the_history(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.history.agent_speaks(1)
    pipeline.history.agent_heard(1, "Hello, this is", "Hello, this is a long greeting.")
    pipeline.responder.replies = [["It is noon already."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
    assert pipeline.responder.asked[0] == [
        Message(Role.SYSTEM, "You serve 600."),
        Message(Role.ASSISTANT, "Hello, this is"),  # what was heard, not what was generated
        Message(Role.USER, "What time is it?"),
    ]


async def test_an_utterance_that_is_being_heard_counts_as_said_so_far(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["It is noon already. ", "Do you want the seconds too?"], ["And one second."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        await idle()
        pipeline.history.agent_speaks(1)
        pipeline.caller_says("Yes, please.")
        await idle()
    assert pipeline.responder.asked[1][2:] == [
        Message(Role.ASSISTANT, "It is noon already. Do you want the seconds too?"),
        Message(Role.USER, "Yes, please."),
    ]


def test_unknown_callers_and_foreign_braces_do_not_spoil_a_prompt() -> None:
    call = CallInfo("call", "100", "", "600")
    text = 'Say {"name": "{caller_name}", "n": {caller_number}} to {whoever}.'
    assert fill_in(text, call) == 'Say {"name": "unknown", "n": 100} to {whoever}.'


# --- text and digits


async def test_text_is_a_turn_of_its_own_that_nobody_began_to_speak(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["It is noon already."]]
    async with running(pipeline):
        pipeline.session.feed_text("What time is it?")
        assert await pipeline.listen() == "It is noon already."
    assert not pipeline.of(CallerSpeechStarted)
    assert len(pipeline.of(CallerSpeechEnded)) == 1
    assert pipeline.of(CallerText) == [CallerText("What time is it?")]


@pytest.mark.parametrize(
    ("pauses", "turns"),
    [
        ([0.0, 0.0], ["(pressed 1 2 3)"]),
        ([1.0, 1.0], ["(pressed 1 2 3)"]),
        ([1.0, 1.5], ["(pressed 1 2)", "(pressed 3)"]),
        ([1.5, 1.5], ["(pressed 1)", "(pressed 2)", "(pressed 3)"]),
    ],
)
async def test_digits_that_follow_each_other_quickly_are_one_turn(
    pipeline: Pipeline, autojump_clock: MockClock, pauses: list[float], turns: list[str]
) -> None:
    pipeline.responder.replies = [["Thank you very much."]] * 3
    async with running(pipeline):
        for digit, pause in zip("123", [*pauses, 2.0], strict=True):
            pipeline.session.feed_digits(digit)
            await trio.sleep(pause)
    assert [event.text for event in pipeline.of(CallerText)] == turns


async def test_digits_are_answered_soon_after_the_last_one(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    pipeline.responder.replies = [["Thank you very much."]]
    async with running(pipeline):
        began = trio.current_time()
        pipeline.session.feed_digits("42#")
        assert await pipeline.listen() == "Thank you very much."
        assert trio.current_time() - began == pytest.approx(1.2)
    assert pipeline.responder.last_user_message == "(pressed 4 2 #)"


# --- words that the call wants spoken


async def test_words_of_the_call_are_spoken_verbatim_by_no_model(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    async with running(pipeline):
        assert await pipeline.session.say("Hello, this is *exact*.") is SayOutcome.SPOKEN
        assert await pipeline.listen() == "Hello, this is *exact*."
    assert not pipeline.responder.asked
    assert pipeline.of(UtteranceEnded) == [UtteranceEnded(1)]


async def test_words_of_the_call_wait_for_the_answer_that_is_being_given(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.responder.replies = [["It is noon already. ", PAUSE, "Quite so."]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        await idle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.session.say, "One moment please.")
            await idle()
            assert pipeline.voice.spoken == ["It is noon already."]
            pipeline.responder.go_on.set()
        assert await pipeline.listen() == "It is noon already. Quite so."
        assert await pipeline.listen() == "One moment please."


async def test_a_greeting_that_cannot_be_spoken_lets_the_call_go_on(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    pipeline.voice.fails = [ProviderUnavailable("no voice")]
    pipeline.responder.replies = [["It is noon already."]]
    async with running(pipeline):
        with trio.fail_after(1):
            await pipeline.session.say("Hello there.")
        pipeline.caller_says("What time is it?")
        assert await pipeline.listen() == "It is noon already."
    assert pipeline.of(Degraded) == [Degraded("no voice")]
    assert not pipeline.of(Ended)


# --- failures


Fail = Callable[[Pipeline], None]


def _transcriber_fails(pipeline: Pipeline) -> None:
    pipeline.caller_says(ProviderUnavailable("engine down"))


def _responder_fails(pipeline: Pipeline) -> None:
    pipeline.responder.replies.append([ProviderUnavailable("engine down")])
    pipeline.caller_says("Hello?")


def _voice_fails(pipeline: Pipeline) -> None:
    pipeline.voice.fails.append(ProviderUnavailable("engine down"))
    pipeline.responder.replies.append(["It is noon already."])
    pipeline.caller_says("Hello?")


STAGES = pytest.mark.parametrize("fail", [_transcriber_fails, _responder_fails, _voice_fails])


@STAGES
async def test_one_failure_costs_one_answer(pipeline: Pipeline, autojump_clock: MockClock, fail: Fail) -> None:
    async with running(pipeline):
        fail(pipeline)
        await idle()
        assert pipeline.of(Degraded) == [Degraded("engine down")]
        assert len(pipeline.of(NothingToSay)) == 1
        pipeline.responder.replies.append(["It is noon already."])
        pipeline.caller_says("What time is it?")
        assert await pipeline.listen() == "It is noon already."
    assert not pipeline.of(Ended)


@STAGES
async def test_two_failures_in_a_row_end_the_session(pipeline: Pipeline, autojump_clock: MockClock, fail: Fail) -> None:
    async with running(pipeline):
        fail(pipeline)
        await idle()
        fail(pipeline)
        await idle()
    assert len(pipeline.of(Degraded)) == 2
    assert pipeline.of(Ended) == [Ended("engine down")]


async def test_an_answer_in_between_makes_up_for_a_failure(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    async with running(pipeline):
        for _ in range(3):
            _responder_fails(pipeline)
            await idle()
            pipeline.responder.replies.append(["It is noon already."])
            pipeline.caller_says("What time is it?")
            await pipeline.listen()
    assert len(pipeline.of(Degraded)) == 3
    assert not pipeline.of(Ended)


async def test_a_reply_that_fails_half_way_is_heard_so_far_and_does_not_hold_up_the_playback(
    pipeline: Pipeline, autojump_clock: MockClock
) -> None:
    """Its utterance was begun and never ended: the playback waited for the rest until the caller hung up."""
    pipeline.responder.replies = [["It is noon already. ", ProviderUnavailable("gone")]]
    async with running(pipeline):
        pipeline.caller_says("What time is it?")
        with trio.fail_after(1):
            assert await pipeline.listen() == "It is noon already."
    assert pipeline.of(Degraded) == [Degraded("gone")]
    assert pipeline.of(UtteranceEnded) == [UtteranceEnded(1)]


# --- the end


@pytest.mark.parametrize(
    "words", ["Goodbye.", "Okay, GOODBYE!", "well, bye-bye, bye bye then", "thank you: goodbye, sir"]
)
async def test_a_caller_who_says_goodbye_hears_the_farewell_and_is_let_go(
    pipeline: Pipeline, autojump_clock: MockClock, words: str
) -> None:
    async with running(pipeline):
        pipeline.caller_says(words)
        assert await pipeline.listen() == "Farewell!"
    assert pipeline.events[-1] == Ended()
    assert not pipeline.responder.asked


@pytest.mark.parametrize("words", ["The goodbyes were long.", "Is it a good buy?", "bye"])
async def test_words_that_only_contain_an_end_phrase_end_nothing(
    pipeline: Pipeline, autojump_clock: MockClock, words: str
) -> None:
    pipeline.responder.replies = [["I see what you mean."]]
    async with running(pipeline):
        pipeline.caller_says(words)
        assert await pipeline.listen() == "I see what you mean."
    assert not pipeline.of(Ended)


async def test_an_agent_without_a_farewell_leaves_without_a_word(autojump_clock: MockClock) -> None:
    pipeline = Pipeline(settings=attrs.evolve(SETTINGS, farewell=""))
    async with running(pipeline):
        pipeline.caller_says("Goodbye.")
    assert pipeline.of(Ended) == [Ended()]
    assert not pipeline.voice.spoken


async def test_a_farewell_that_cannot_be_spoken_keeps_no_caller(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    """The failure went on as "nothing to say", and the caller who had said goodbye was still in the call."""
    pipeline.voice.fails = [ProviderUnavailable("no voice")]
    async with running(pipeline):
        pipeline.caller_says("Goodbye.")
    assert pipeline.of(Degraded) == [Degraded("no voice")]
    assert pipeline.of(Ended) == [Ended()]


async def test_nothing_is_answered_after_the_end(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    """Words during the farewell were answered, and the call that waited for quiet went on."""
    async with running(pipeline):
        pipeline.caller_says("Goodbye.")
        await pipeline.listen()
        pipeline.caller_says("Oh, one more thing.")
        pipeline.session.feed_text("And another.")
        pipeline.session.feed_digits("1")
        await trio.sleep(3)
    assert not pipeline.responder.asked
    assert pipeline.of(Ended) == [Ended()]
    assert pipeline.events[-1] == Ended()


async def test_the_events_end_after_ended(pipeline: Pipeline, autojump_clock: MockClock) -> None:
    async with running(pipeline):
        pipeline.caller_says("Goodbye.")
        await idle()
        assert pipeline.events_ended


@pytest.mark.parametrize("steps", range(0, 40, 3))
async def test_a_session_that_is_left_at_any_moment_leaves_no_task_and_no_running_model(
    pipeline: Pipeline, autojump_clock: MockClock, steps: int
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    pipeline.responder.replies = [["One sentence here. ", "Another sentence there. "]]
    async with open_pipeline(pipeline.session):
        pipeline.caller_says("What time is it?")
        pipeline.session.feed_digits("1")
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert pipeline.responder.running == 0
