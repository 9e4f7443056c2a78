"""A pipeline whose engines are none, with the caller's mouth and ears and a call that does as it should.

What the caller says is written into the audio: every phrase has a sample value of its own, which the transcriber reads.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio

from agentd import session_events as tells
from agentd.agent import Audio, CallInfo, Chunk, SegmentStart, ToolDeclaration, UtteranceEnd
from agentd.errors import ProviderUnavailable
from agentd.history import History
from agentd.playout import PlayoutBuffer
from agentd.session_events import SessionEvent
from agentd_providers.pipeline.session import PipelineSession, open_pipeline
from agentd_providers.pipeline.speech_output import SpeechOutput
from agentd_providers.pipeline.stages import Message, PipelineSettings, Role, ToolCall, Transcript
from agentd_providers.turns.end_of_turn import PatienceSettings
from agentd_providers.turns.first_sound import Kinds
from agentd_providers.turns.taker import TurnTaking
from agentd_providers.turns.word_tables import open_word_ends

E = TypeVar("E")
FRAME = 0.02
SILENCE = bytes(320)
PAUSE, TURN_END = 0.1, 0.3
"""Seconds of silence that are a pause, and that end a turn."""
TURNS = TurnTaking(
    start_ms=60,
    interrupt_ms=160,
    takeover_ms=700,
    min_words=1,
    pause_ms=1000 * PAUSE,
    looks_ms=(160,),
    patience=PatienceSettings(*[1000 * TURN_END] * 4),
    max_turn_ms=30_000,
    threshold=0.5,
    backchannels=frozenset({"mhm", "okay"}),
    word_ends=open_word_ends("en"),
    sure_ms=64,
    commands=frozenset(),
)
SETTINGS = PipelineSettings(
    prompt="You serve {caller_name} ({caller_number}) at {extension}.",
    turns=TURNS,
    window_ms=20,
    pre_roll_ms=200,
    end_phrases=("goodbye", "hang up"),
    farewell="Bye bye.",
    fillers=frozenset({"One moment."}),
)
CLOCK = ToolDeclaration("clock", "Tells the time.")
Piece = str | ToolCall | Exception
BROKEN = ProviderUnavailable("the engine died")


@attrs.define
class FakeDetector:
    """Speech is what is not silence, with a probability of `sound`."""

    keep_open: list[bool] = attrs.field(factory=list)
    sound: float = 0.9

    def feed(self, pcm: bytes, *, keep_open: bool) -> list[float]:
        self.keep_open.append(keep_open)
        return [self.sound if any(pcm) else 0.1]


@attrs.define(eq=False)
class FakeTranscript:
    engine: "FakeTranscriber"
    heard: list[bytes] = attrs.field(factory=list)
    closed: bool = False

    def feed(self, pcm: bytes) -> None:
        assert not self.closed, "a turn that is over is not fed"
        self.heard.append(pcm)

    async def words(self) -> str:
        frames = list(self.heard)
        self.engine.asked += 1
        await trio.sleep(self.engine.seconds)
        if self.engine.failures:
            raise self.engine.failures.pop(0)
        return " ".join(self.engine.phrases[code] for code in dict.fromkeys(frame[0] for frame in frames) if code)

    def close(self) -> None:
        self.closed = True


@attrs.define(eq=False)
class FakeTranscriber:
    """Reads the phrases out of the audio, in `seconds`."""

    phrases: list[str] = attrs.field(factory=lambda: [""])
    seconds: float = 0.05
    failures: list[Exception] = attrs.field(factory=list)
    asked: int = 0
    begun: list[FakeTranscript] = attrs.field(factory=list)

    def begin(self) -> Transcript:
        self.begun.append(FakeTranscript(self))
        return self.begun[-1]

    def sound_of(self, phrase: str) -> bytes:
        self.phrases.append(phrase)
        return bytes([len(self.phrases) - 1, 16]) * 160


@attrs.define(eq=False)
class FakeJudge:
    """Finds every turn as complete as `complete` says."""

    complete: float = 0.9
    seconds: float = 0.02
    failures: list[Exception] = attrs.field(factory=list)
    judged: list[bytes] = attrs.field(factory=list)

    async def judge(self, pcm: bytes, rate: int, look: int) -> float:
        self.judged.append(pcm)
        await trio.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)
        return self.complete


@attrs.define(eq=False)
class FakeSounds:
    """Weighs every sound to be `told`, but for the `first` times."""

    told: Kinds
    first: list[Kinds] = attrs.field(factory=list)
    weighed: list[bytes] = attrs.field(factory=list)

    def kinds(self, pcm: bytes, rate: int, begun: int) -> Kinds:
        assert 0 <= begun <= len(pcm)
        self.weighed.append(pcm)
        return self.first.pop(0) if self.first else self.told


@attrs.define(eq=False)
class FakeResponder:
    """Writes a reply piece by piece, `seconds` apart: the one for what was said last (by the caller, or a tool), or
    "I heard ...\"."""

    replies: dict[str, list[Piece]] = attrs.field(factory=dict)
    seconds: float = 0.05
    asked: list[list[Message]] = attrs.field(factory=list)
    offered: list[list[str]] = attrs.field(factory=list)
    """The names of the tools that it was told of, each time it was asked."""
    read: list[str | ToolCall] = attrs.field(factory=list)
    """What was read of its replies."""
    writing: list[list[Message]] = attrs.field(factory=list)
    """What it is writing replies to right now."""
    tells_sentence_ends: bool = False
    ends: float = 1.0
    asked_for_ends: list[list[Message]] = attrs.field(factory=list)
    failures: list[Exception] = attrs.field(factory=list)

    @asynccontextmanager
    async def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AsyncIterator[str | ToolCall]]:
        asked = list(messages)
        self.asked.append(asked)
        self.offered.append([tool.name for tool in tools])
        self.writing.append(asked)
        said = next(message.text for message in reversed(messages) if message.role in (Role.USER, Role.TOOL))
        try:
            async with aclosing(self._write(self.replies.get(said, [f"I heard {said}."]))) as pieces:
                yield pieces
        finally:
            self.writing.remove(asked)

    async def _write(self, pieces: list[Piece]) -> AsyncGenerator[str | ToolCall, None]:
        for piece in pieces:
            await trio.sleep(self.seconds)
            if isinstance(piece, Exception):
                raise piece
            self.read.append(piece)
            yield piece

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        assert list(messages) not in self.writing, "asked before the reply, never beside it"
        self.asked_for_ends.append(list(messages))
        await trio.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)
        return self.ends


@attrs.define(eq=False)
class FakeSentences:
    """Finds sentences to end with the probability `ends`, after `seconds`."""

    ends: float = 1.0
    seconds: float = 0.05
    tells_sentence_ends: bool = True
    asked: list[list[Message]] = attrs.field(factory=list)

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        self.asked.append(list(messages))
        await trio.sleep(self.seconds)
        return self.ends


@attrs.define(eq=False)
class FakeVoice:
    """100 ms of audio a word, made in `seconds`: a clause, or where it `streams` each word. A failure may stand in
    place of what is to be made."""

    seconds: float = 0.05
    spoken: list[str] = attrs.field(factory=list)
    failures: list[Exception | None] = attrs.field(factory=list)
    soundless: set[str] = attrs.field(factory=set)
    streams: bool = False
    """Each word's sound comes by itself; else a clause's sound comes whole."""
    speaking: int = 0

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        self.speaking += 1
        try:
            async with aclosing(self._pieces(text, rate)) as pieces:
                yield pieces
        finally:
            self.speaking -= 1

    async def _pieces(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        words = 0 if text in self.soundless else len(text.split())
        for number, length in enumerate([1] * words if self.streams else [words]):
            await trio.sleep(self.seconds)
            if self.failures and (failure := self.failures.pop(0)) is not None:
                raise failure
            if not number:
                self.spoken.append(text)
            yield bytes(length * rate // 10 * 2)


@attrs.define(eq=False)
class Talk:
    """A session, its engines, and a caller's mouth and ears."""

    session: PipelineSession
    transcriber: FakeTranscriber
    responder: FakeResponder
    voice: FakeVoice
    playout: PlayoutBuffer
    delays: list[float]
    call_answers: bool
    events: list[SessionEvent] = attrs.field(factory=list)
    at: list[float] = attrs.field(factory=list)
    """When each event was told."""
    hearing: int = 0
    """The utterance that is being heard, of which the caller has heard the words `heard`."""
    heard: str = ""

    # --- the mouth

    async def speak(self, phrase: str, seconds: float = 0.5) -> None:
        await self._feed(self.transcriber.sound_of(phrase), seconds)

    async def be_silent(self, seconds: float) -> None:
        await self._feed(SILENCE, seconds)

    async def say(self, phrase: str, seconds: float = 0.5) -> None:
        """A whole turn: the caller speaks, and falls silent for long enough to end it."""
        await self.speak(phrase, seconds)
        await self.be_silent(TURN_END + 0.04)

    async def _feed(self, pcm: bytes, seconds: float) -> None:
        for _ in range(round(seconds / FRAME)):
            self.session.feed(pcm, trio.current_time())
            await trio.sleep(FRAME)

    # --- the ears

    def begin_to_hear(self, heard: str) -> None:
        """The next utterance in the playout is heard now; when it is interrupted it will have been `heard` so far."""
        self.hearing, self.heard = self.chunks[0].utterance, heard
        self.session.history.agent_speaks(self.hearing)
        self.session.started(self.hearing)

    def stop_hearing(self) -> None:
        utterance, self.hearing = self.hearing, 0
        self.session.history.agent_heard(utterance, self.heard, "all of it")
        self.session.heard(utterance, 1000, False)

    def take(self) -> list[str]:
        """What waits to be heard: its clauses. They are heard to their end."""
        clauses: list[str] = []
        texts: list[str] = []
        while self.playout._chunks:
            chunk = self.playout._chunks.popleft()
            if isinstance(chunk, SegmentStart):
                texts.append(chunk.text)
            elif isinstance(chunk, UtteranceEnd):
                self.hearing, self.heard = chunk.utterance, " ".join(texts)
                self.session.history.agent_speaks(chunk.utterance)
                self.session.started(chunk.utterance)
                self.stop_hearing()
                clauses, texts = clauses + texts, []
        self.playout.buffered = 0.0
        return clauses + texts

    @property
    def chunks(self) -> list[Chunk]:
        return list(self.playout._chunks)

    @property
    def words_waiting(self) -> list[str]:
        return [chunk.text for chunk in self.chunks if isinstance(chunk, SegmentStart)]

    @property
    def audio_waiting(self) -> bool:
        return any(isinstance(chunk, Audio) for chunk in self.chunks)

    # --- the call

    async def follow(self) -> None:
        """Be the call: note what is told and, with `call_answers`, do what a call does about it."""
        async for event in self.session.events:
            self.events.append(event)
            self.at.append(trio.current_time())
            if not self.call_answers:
                continue
            match event:
                case tells.CallerSpeechStarted():
                    self.session.withhold()
                case tells.CallerSpeechDismissed() | tells.CallerSpeechEnded():
                    self.session.answer()
                case tells.CallerTakesTurn():
                    self.interrupt()

    def interrupt(self) -> None:
        self.session.interrupt()
        self.playout.interrupt()
        if self.hearing:
            self.stop_hearing()

    @property
    def story(self) -> list[type]:
        """What happened, without what only tells of its course."""
        return [type(event) for event in self.events if not isinstance(event, tells.StageTiming | tells.Thinking)]

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(60):
            while not condition():
                await trio.sleep(0.005)

    @property
    def history(self) -> list[tuple[str, str]]:
        return [(turn.speaker.value, turn.text) for turn in self.session.history.turns]

    @property
    def prompts(self) -> list[list[str]]:
        """What the model was asked, without the system's part."""
        return [[message.text for message in messages[1:]] for messages in self.responder.asked]


@asynccontextmanager
async def talking(
    *,
    call_answers: bool = True,
    judge: FakeJudge | None = None,
    sentence_ends: bool = False,
    tools: Sequence[ToolDeclaration] = (),
    sounds: FakeSounds | None = None,
    sentences: Sequence[FakeSentences] = (),
    **settings: Any,
) -> AsyncIterator[Talk]:
    """A call's session. Settings are those of PipelineSettings or of TurnTaking. Nothing of it is left afterwards."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    turns = {name: settings.pop(name) for name in list(settings) if hasattr(TURNS, name)}
    playout, delays = PlayoutBuffer(), list[float]()
    transcriber, responder, voice = FakeTranscriber(), FakeResponder(tells_sentence_ends=sentence_ends), FakeVoice()
    session = PipelineSession(
        CallInfo("1.1", "100", "Alice", "600"),
        History(),
        SpeechOutput(playout, voice, 8000),
        attrs.evolve(SETTINGS, turns=attrs.evolve(TURNS, **turns), **settings),
        FakeDetector(),
        transcriber,
        judge,
        responder,
        delays.append,
        tools,
        sounds,
        sentences,
    )
    talk = Talk(session, transcriber, responder, voice, playout, delays, call_answers)
    try:
        async with trio.open_nursery() as nursery:
            async with open_pipeline(session):
                nursery.start_soon(talk.follow)
                yield talk
            nursery.cancel_scope.cancel()
    finally:
        assert not responder.writing, "a model that nobody listens to is stopped"
        assert not voice.speaking, "a voice that nobody listens to is stopped"
        assert all(transcript.closed for transcript in transcriber.begun), "what the engine keeps of a turn is freed"
    assert trio.lowlevel.current_statistics().tasks_living == tasks, "no task is left"
