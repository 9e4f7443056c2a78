"""The pipeline's turn taking with engines that are none: what is said, heard, thought and spoken is the test's."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

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
    Chunk,
    Degraded,
    Ended,
    History,
    NothingToSay,
    SegmentEnd,
    SegmentStart,
    SessionEvent,
    StageTiming,
    Turn,
    UtteranceEnd,
    UtteranceEnded,
    UtteranceStarted,
)
from agentd.agent import Speaker as Who
from agentd.errors import ProviderUnavailable
from agentd.playout import PlayoutBuffer
from providers.pipeline import (
    TURN_QUEUE,
    Message,
    PipelineSession,
    PipelineSettings,
    Role,
    Transcript,
    fill_in,
    open_pipeline,
)

FRAME = 0.02
SPEECH, SILENCE = b"\x01\x10" * 160, bytes(320)
SETTINGS = PipelineSettings(
    prompt="You serve {caller_name} ({caller_number}) at {extension}.",
    start_ms=60,
    stop_ms=300,
    max_seconds=30,
    pre_roll_ms=200,
    threshold=0.5,
    window_ms=20,
    end_phrases=("goodbye", "hang up"),
    farewell="Bye bye.",
)


@attrs.define
class FakeDetector:
    """Speech is what is not silence."""

    keep_open: list[bool] = attrs.field(factory=list)

    def feed(self, pcm: bytes, *, keep_open: bool) -> list[float]:
        self.keep_open.append(keep_open)
        return [0.9 if any(pcm) else 0.1]


@attrs.define
class FakeTranscript:
    script: "FakeTranscriber"
    heard: list[bytes] = attrs.field(factory=list)

    def feed(self, pcm: bytes) -> None:
        self.heard.append(pcm)

    async def finish(self) -> str:
        await trio.sleep(self.script.seconds)
        words = self.script.words.pop(0)
        if isinstance(words, Exception):
            raise words
        return words


@attrs.define
class FakeTranscriber:
    words: list[str | Exception] = attrs.field(factory=list)
    seconds: float = 0.1
    begun: list[FakeTranscript] = attrs.field(factory=list)

    def begin(self) -> Transcript:
        self.begun.append(FakeTranscript(self))
        return self.begun[-1]


@attrs.define
class FakeResponder:
    """Writes the replies piece by piece, `seconds` apart."""

    replies: list[list[str | Exception]] = attrs.field(factory=list)
    seconds: float = 0.1
    asked: list[list[Message]] = attrs.field(factory=list)
    writing: int = 0

    @asynccontextmanager
    async def respond(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[str]]:
        self.asked.append(list(messages))
        self.writing += 1
        try:
            async with aclosing(self._write(self.replies.pop(0))) as pieces:
                yield pieces
        finally:
            self.writing -= 1

    async def _write(self, pieces: list[str | Exception]) -> AsyncGenerator[str, None]:
        for piece in pieces:
            await trio.sleep(self.seconds)
            if isinstance(piece, Exception):
                raise piece
            yield piece


@attrs.define
class FakeVoice:
    """100 ms of audio a word, made in `seconds`."""

    seconds: float = 0.05
    spoken: list[tuple[float, str]] = attrs.field(factory=list)
    failures: list[Exception] = attrs.field(factory=list)

    async def synthesise(self, text: str, rate: int) -> bytes:
        await trio.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)
        self.spoken.append((trio.current_time(), text))
        return bytes(len(text.split()) * rate // 10 * 2)


@attrs.define(eq=False)
class Talk:
    """A session, its engines, and a caller's mouth and ears."""

    session: PipelineSession
    transcriber: FakeTranscriber
    responder: FakeResponder
    voice: FakeVoice
    playout: PlayoutBuffer
    delays: list[float]
    events: list[SessionEvent] = attrs.field(factory=list)

    async def hear(self, seconds: float, pcm: bytes) -> None:
        for _ in range(round(seconds / FRAME)):
            self.session.feed(pcm, trio.current_time())
            await trio.sleep(FRAME)

    async def say(self, seconds: float = 0.5) -> None:
        """The caller speaks, and falls silent for long enough to end the turn."""
        await self.hear(seconds, SPEECH)
        await self.hear(0.32, SILENCE)

    async def collect(self) -> None:
        async for event in self.session.events:
            self.events.append(event)

    def of(self, *kinds: type) -> list[SessionEvent]:
        return [event for event in self.events if isinstance(event, kinds)]

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(60):
            while not condition():
                await trio.sleep(0.005)

    @property
    def chunks(self) -> list[Chunk]:
        return list(self.playout._chunks)

    def take(self) -> list[str]:
        """What the caller gets to hear now; it is heard."""
        texts = []
        while self.playout._chunks:
            chunk = self.playout._chunks.popleft()
            if isinstance(chunk, SegmentStart):
                texts.append(chunk.text)
            elif isinstance(chunk, UtteranceEnd):
                self.session.history.agent_speaks(chunk.utterance)
                self.session.history.agent_heard(chunk.utterance, " ".join(texts), " ".join(texts))
                self.session.heard(chunk.utterance, 1000, True)
        self.playout.buffered = 0.0
        return texts


@asynccontextmanager
async def talking(**settings: Any) -> AsyncIterator[Talk]:
    playout, history, delays = PlayoutBuffer(), History(), list[float]()
    transcriber, responder, voice = FakeTranscriber(), FakeResponder(), FakeVoice()
    session = PipelineSession(
        CallInfo("1.1", "100", "Alice", "600"),
        history,
        playout,
        attrs.evolve(SETTINGS, **settings),
        FakeDetector(),
        transcriber,
        responder,
        voice,
        delays.append,
    )
    talk = Talk(session, transcriber, responder, voice, playout, delays)
    async with trio.open_nursery() as nursery:
        async with open_pipeline(session):
            nursery.start_soon(talk.collect)
            yield talk
        nursery.cancel_scope.cancel()
    assert responder.writing == 0, "a model that nobody listens to is stopped"


# --- one turn


async def test_a_turn_is_heard_transcribed_answered_and_spoken(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words = ["what is the time"]
        talk.responder.replies = [["It is ", "five o'clock."]]
        await talk.say()
        await talk.until(lambda: talk.of(UtteranceEnded))
        told = [type(event) for event in talk.events if not isinstance(event, StageTiming)]
        assert told == [
            CallerSpeechStarted,
            CallerSpeechEnded,
            CallerText,
            UtteranceStarted,
            AgentText,
            UtteranceEnded,
        ]
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, SegmentEnd, UtteranceEnd]
        assert talk.take() == ["It is five o'clock."]
        assert [event.stage for event in talk.of(StageTiming) if isinstance(event, StageTiming)] == [
            "transcript",
            "first_token",
            "first_audio",
        ]
        assert talk.session.history.turns[0] == Turn(Who.CALLER, "what is the time")


async def test_a_turn_ends_after_the_configured_silence(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words = [""]
        await talk.hear(0.5, SPEECH)
        await talk.hear(0.2, SILENCE)
        await talk.hear(0.3, SPEECH)
        await talk.hear(0.28, SILENCE)
        assert not talk.of(CallerSpeechEnded)
        await talk.hear(0.04, SILENCE)
        (ended,) = talk.of(CallerSpeechEnded)
        assert isinstance(ended, CallerSpeechEnded)
        assert ended.at - ended.last_speech_at == pytest.approx(0.3)
        assert ended.last_speech_at == pytest.approx(1.0, abs=0.03)
        await trio.sleep(1.0)


async def test_the_first_syllable_is_not_lost(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words = [""]
        await talk.hear(2.0, SILENCE)
        await talk.say()
        heard = talk.transcriber.begun[0].heard
        assert SPEECH in heard
        assert heard.index(SPEECH) == pytest.approx(SETTINGS.pre_roll_ms / 20, abs=2)
        assert heard.count(SPEECH) == 25
        await trio.sleep(1.0)


async def test_a_click_is_no_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        for _ in range(10):
            await talk.hear(0.02, SPEECH)
            await talk.hear(0.2, SILENCE)
        assert not talk.events


async def test_the_delay_of_caller_audio_is_observed_for_every_frame(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.session.feed(SILENCE, trio.current_time() - 0.1)
        assert talk.delays == pytest.approx([0.1])


async def test_noise_that_is_no_words_is_not_answered(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words = ["  "]
        await talk.say()
        await talk.until(lambda: talk.of(NothingToSay))
        assert not talk.responder.asked
        assert not talk.session.history.turns


@pytest.mark.parametrize("reply", [[], [""], ["  ", "\n"], ["*", "**"]])
async def test_a_model_without_words_is_told_as_such(reply: list[str | Exception], autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words, talk.responder.replies = ["hello"], [reply]
        await talk.say()
        await talk.until(lambda: talk.of(NothingToSay))
        assert not talk.chunks


# --- streaming


async def test_the_first_clause_is_spoken_while_the_rest_is_still_being_written(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 1.0
        talk.transcriber.words = ["tell me"]
        talk.responder.replies = [["Certainly my friend. ", "The second ", "sentence comes ", "a good deal later."]]
        await talk.say()
        await talk.until(lambda: talk.voice.spoken)
        assert talk.voice.spoken[0][1] == "Certainly my friend."
        assert talk.responder.writing == 1
        assert not talk.of(UtteranceEnded)
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, SegmentEnd]
        await talk.until(lambda: talk.of(UtteranceEnded))
        assert talk.take() == ["Certainly my friend.", "The second sentence comes a good deal later."]
        assert len(talk.of(UtteranceStarted)) == 1


# --- the caller goes on


async def test_a_caller_who_goes_on_has_said_one_thing(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words = ["I would like", "to book a table"]
        talk.responder.replies = [["What would you like?"], ["With pleasure."]]
        talk.responder.seconds = 5.0
        await talk.say()
        await talk.until(lambda: talk.responder.writing)
        speaking = talk.say()
        talk.session.interrupt()
        talk.playout.interrupt()
        await speaking
        await talk.until(lambda: talk.of(UtteranceEnded))
        assert talk.take() == ["With pleasure."]
        assert talk.responder.asked[-1][1:] == [Message(Role.USER, "I would like to book a table")]


async def test_a_turn_that_another_followed_before_its_words_were_known_is_not_answered_alone(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        talk.transcriber.words = ["one", "two"]
        talk.transcriber.seconds = 2.0
        talk.responder.replies = [["Three and four."]]
        await talk.say()
        await talk.say()
        await talk.until(lambda: talk.of(UtteranceEnded))
        assert len(talk.responder.asked) == 1
        assert talk.responder.asked[0][1:] == [Message(Role.USER, "one two")]


async def test_an_interruption_stops_the_model_and_the_voice(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.seconds = 1.0
        talk.transcriber.words = ["tell me"]
        talk.responder.replies = [["First of all, this. ", *["And then some more of it, and more. "] * 20]]
        await talk.say()
        await talk.until(lambda: talk.voice.spoken)
        talk.session.interrupt()
        talk.playout.interrupt()
        await trio.sleep(0.5)
        assert talk.responder.writing == 0
        await trio.sleep(10.0)
        assert len(talk.voice.spoken) == 1
        assert not talk.chunks


async def test_an_interruption_while_nothing_is_answered_is_harmless(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.session.interrupt()
        talk.transcriber.words, talk.responder.replies = ["hello"], [["Hello yourself."]]
        await talk.say()
        await talk.until(lambda: talk.of(UtteranceEnded))


async def test_turns_beyond_the_queue_are_told_and_dropped(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.seconds = 1000.0
        talk.transcriber.words = ["never"] * 100
        for _ in range(TURN_QUEUE + 3):
            await talk.say(0.2)
        assert 1 <= len(talk.of(Degraded)) <= 3
        assert len(talk.of(CallerSpeechEnded)) == len(talk.of(CallerSpeechStarted))


# --- failures


BROKEN = ProviderUnavailable("the engine died")


async def test_one_failed_answer_is_an_accident(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words = ["one", "two", "three"]
        talk.responder.replies = [[BROKEN], ["It is working again."], [BROKEN]]
        await talk.say()
        await talk.until(lambda: talk.of(NothingToSay))
        assert talk.of(Degraded) == [Degraded("the engine died")]
        await talk.say()
        await talk.until(lambda: talk.of(UtteranceEnded))
        await talk.say()
        await talk.until(lambda: len(talk.of(NothingToSay)) == 2)
        assert not talk.of(Ended)


@pytest.mark.parametrize("stage", ["transcriber", "responder", "voice"])
async def test_two_failed_answers_in_a_row_end_the_session_with_the_reason(
    stage: str, autojump_clock: MockClock
) -> None:
    async with talking() as talk:
        talk.transcriber.words = [BROKEN, BROKEN] if stage == "transcriber" else ["one", "two"]
        talk.responder.replies = [[BROKEN] if stage == "responder" else ["An answer."]] * 2
        talk.voice.failures = [BROKEN, BROKEN]
        for _ in range(2):
            await talk.say()
            await trio.sleep(2.0)
        told = [event for event in talk.events if isinstance(event, Degraded | NothingToSay | Ended)]
        assert told == [
            Degraded("the engine died"),
            NothingToSay("the answer failed"),
            Degraded("the engine died"),
            Ended("the engine died"),
        ]


async def test_a_reply_that_breaks_off_ends_its_utterance_so_that_the_caller_is_not_left_waiting(
    autojump_clock: MockClock,
) -> None:
    async with talking() as talk:
        talk.transcriber.words = ["tell me"]
        talk.responder.replies = [["Certainly my friend. ", "And then ", BROKEN]]
        await talk.say()
        await talk.until(lambda: talk.of(Degraded))
        await trio.sleep(0.1)
        assert [type(chunk) for chunk in talk.chunks] == [SegmentStart, Audio, SegmentEnd, UtteranceEnd]
        assert talk.of(UtteranceEnded) == [UtteranceEnded(1)]


# --- words that are given


async def test_say_speaks_exactly_the_words_and_returns_when_they_are_on_their_way(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        await talk.session.say("Hello, how can I help you?")
        assert talk.take() == ["Hello, how can I help you?"]
        assert not talk.responder.asked
        talk.transcriber.words, talk.responder.replies = ["who are you"], [["I am a machine."]]
        await talk.say()
        await talk.until(lambda: talk.responder.asked)
        assert talk.responder.asked[0][1:] == [
            Message(Role.ASSISTANT, "Hello, how can I help you?"),
            Message(Role.USER, "who are you"),
        ]


async def test_say_waits_for_the_answer_before_it(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words, talk.responder.replies = ["hello"], [["A first answer."]]
        await talk.say()
        await talk.session.say("And an afterthought.")
        assert talk.take() == ["A first answer.", "And an afterthought."]


@pytest.mark.parametrize("words", ["Goodbye!", "ok, GOODBYE then", "please hang up."])
async def test_an_end_phrase_says_the_farewell_and_ends_the_session(words: str, autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words = [words]
        await talk.say()
        await talk.until(lambda: talk.of(Ended))
        assert talk.of(Ended) == [Ended()]
        assert talk.take() == ["Bye bye."]
        assert not talk.responder.asked


@pytest.mark.parametrize("words", ["goodbyes are hard", "hang upwards", "do not hang the picture up"])
async def test_words_that_only_look_like_an_end_phrase_are_answered(words: str, autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.transcriber.words, talk.responder.replies = [words], [["I understand."]]
        await talk.say()
        await talk.until(lambda: talk.of(UtteranceEnded))
        assert not talk.of(Ended)


async def test_without_a_farewell_the_session_just_ends(autojump_clock: MockClock) -> None:
    async with talking(farewell="") as talk:
        talk.transcriber.words = ["goodbye"]
        await talk.say()
        await talk.until(lambda: talk.of(Ended))
        assert not talk.chunks


async def test_digits_that_follow_each_other_quickly_are_one_turn(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies = [["One two three it is."]]
        for digit in "12#":
            talk.session.feed_digits(digit)
            await trio.sleep(0.1)
        await talk.until(lambda: talk.responder.asked)
        assert talk.responder.asked[0][1:] == [Message(Role.USER, "(pressed 1 2 #)")]
        await talk.until(lambda: talk.of(UtteranceEnded))


async def test_text_is_a_turn_like_any_other(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.responder.replies = [["Hello to you."]]
        talk.session.feed_text("hello")
        await talk.until(lambda: talk.of(UtteranceEnded))
        assert [type(event) for event in talk.events[:3]] == [CallerSpeechEnded, StageTiming, CallerText]


# --- the prompt


async def test_the_prompt_knows_the_call(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        assert talk.session.messages() == [Message(Role.SYSTEM, "You serve Alice (100) at 600.")]


def test_unknown_callers_and_unknown_braces_leave_the_prompt_readable() -> None:
    prompt = 'Answer {caller_name} as {"json": {}} or {other}.'
    assert fill_in(prompt, CallInfo("1.1")) == 'Answer unknown as {"json": {}} or {other}.'


async def test_the_model_is_told_what_the_caller_heard_and_not_what_was_written(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        history = talk.session.history
        history.caller_said("tell me a story")
        history.agent_speaks(1)
        history.agent_heard(1, "Once upon a", "Once upon a time there was a king.")
        history.caller_said("stop")
        assert talk.session.messages()[1:] == [
            Message(Role.USER, "tell me a story"),
            Message(Role.ASSISTANT, "Once upon a"),
            Message(Role.USER, "stop"),
        ]


async def test_a_session_goes_on_where_the_history_stopped(autojump_clock: MockClock) -> None:
    async with talking() as talk:
        talk.session.history.caller_said("my name is Bob")
        talk.session.history.agent_heard(7, "Hello Bob.", "Hello Bob.")
        talk.transcriber.words, talk.responder.replies = ["what is my name"], [["Bob it is."]]
        await talk.say()
        await talk.until(lambda: talk.responder.asked)
        assert [message.text for message in talk.responder.asked[0][1:]] == [
            "my name is Bob",
            "Hello Bob.",
            "what is my name",
        ]
        await talk.until(lambda: talk.of(UtteranceEnded))


# --- the end


@pytest.mark.parametrize("moment", [0.1, 0.5, 0.85, 0.95, 1.05, 1.15, 1.3])
async def test_a_hang_up_at_any_moment_stops_every_engine(moment: float, autojump_clock: MockClock) -> None:
    with trio.move_on_after(moment):
        async with talking() as talk:
            talk.transcriber.words = ["tell me"]
            talk.responder.replies = [["Certainly my friend. ", "And the rest of it."]]
            await talk.say()
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(moment)
