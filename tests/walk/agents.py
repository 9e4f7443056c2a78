"""Two scripted agents: one of stages, where agentd takes the turns, and one that hears and answers by itself.

They know a caller's phrase by its number, which its sound carries (tests.walk.phone.speech), and answer as a `Script`
says.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentd import session_events as tells
from agentd.agent import Audio, CallInfo, Capabilities, Playout, Readiness, SayOutcome, ToolDeclaration
from agentd.config.settings import AgentConfig
from agentd.errors import ProviderUnavailable
from agentd.history import History, Speaker
from agentd.session_events import SessionEvent
from agentd.testing.sound import RATE, voice
from agentd_providers.pipeline.agent import PipelineAgent, Stages, open_agent
from agentd_providers.pipeline.stages import Message, Role, ToolCall
from agentd_providers.registry import Provider
from agentd_providers.shared import SharedServices
from tests.shell.fakes import FakeSession
from tests.shell.pipeline_fakes import SETTINGS, FakeDetector
from tests.walk.faults import How, Strike, Where, never

SECONDS_A_WORD = 0.1
TURN_END = 0.3
"""Seconds of silence that end a turn."""
LISTEN, THINK, SPEAK, AGENT = "listen", "think", "speak", "agent"
READY = Readiness(True)
Piece = str | ToolCall | Exception


@attrs.define(eq=False)
class Script:
    """An agent's part. `phrases` are the caller's, by number; `answers` what is said to one, or to a tool's result.

    A stage that `strike` has told to hang at a step does not come back from it, nor from any later one. Steps are
    counted once it is `armed`."""

    phrases: Mapping[int, str]
    answers: Mapping[str, Sequence[Piece]]
    strike: Strike = never
    armed: bool = False
    steps: dict[str, int] = attrs.field(factory=dict)
    open_sessions: int = 0
    _hanging: set[str] = attrs.field(factory=set)

    async def step(self, stage: str) -> None:
        """Something is asked of a stage."""
        await trio.lowlevel.checkpoint()
        if not self.armed:
            return
        self.steps[stage] = self.steps.get(stage, 0) + 1
        if self.strike(Where(stage), self.steps[stage]) is How.HANGS:
            self._hanging.add(stage)
        if stage in self._hanging:
            await trio.sleep_forever()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Around each session or stage of a call."""
        self.open_sessions += 1
        try:
            yield
        finally:
            self.open_sessions -= 1


@attrs.frozen
class ScriptSettings:
    """The settings of either agent."""

    script: Script


def spoken(text: str, rate: int = RATE) -> bytes:
    """The sound of words."""
    return voice(SECONDS_A_WORD * len(text.split()), seed=len(text), rate=rate)


# --- of stages


@attrs.define(eq=False)
class _Transcript:
    script: Script
    heard: list[bytes] = attrs.field(factory=list)

    def feed(self, pcm: bytes) -> None:
        self.heard.append(pcm)

    async def words(self) -> str:
        heard = b"".join(self.heard)
        await self.script.step(LISTEN)
        await trio.sleep(0.02)
        codes = dict.fromkeys(heard[at] for at in range(0, len(heard), 320) if any(heard[at : at + 320]))
        return " ".join(self.script.phrases[code] for code in codes if code in self.script.phrases)

    def close(self) -> None:
        self.heard.clear()


@attrs.define(eq=False)
class _Engine:
    """Any of the three stages, for as long as its agent is open, and what a call has of it."""

    script: Script
    stage: str
    readiness: Readiness = READY
    tells_sentence_ends: bool = False

    @asynccontextmanager
    async def open(self, _rate: int = RATE) -> AsyncIterator["_Engine"]:
        async with self.script.session():
            await self.script.step(self.stage)
            yield self

    def begin(self) -> _Transcript:
        return _Transcript(self.script)

    @asynccontextmanager
    async def respond(
        self, messages: Sequence[Message], _tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AsyncIterator[str | ToolCall]]:
        said = next(message.text for message in reversed(messages) if message.role in (Role.USER, Role.TOOL))
        pieces = self._write(self.script.answers.get(said, ()))
        try:
            yield pieces
        finally:
            await pieces.aclose()

    async def _write(self, pieces: Sequence[Piece]) -> AsyncGenerator[str | ToolCall, None]:
        for piece in pieces:
            await self.script.step(self.stage)
            await trio.sleep(0.02)
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        await trio.lowlevel.checkpoint()
        return 1.0

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        pieces = self._sound(text, rate)
        try:
            yield pieces
        finally:
            await pieces.aclose()

    async def _sound(self, text: str, rate: int) -> AsyncGenerator[bytes, None]:
        await self.script.step(self.stage)
        await trio.sleep(0.02)
        yield spoken(text, rate)


@attrs.frozen
class _Cues:
    window_ms: float = 20.0
    judge: None = None
    sounds: None = None
    sentences: None = None

    def detector(self, _rate: int) -> FakeDetector:
        return FakeDetector()

    async def load(self) -> None:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def _open_pipeline(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[PipelineAgent]:
    settings = config.settings
    assert isinstance(settings, ScriptSettings)
    script = settings.script
    stages: Any = Stages(
        _Engine(script, LISTEN),
        _Engine(script, THINK),
        _Engine(script, SPEAK),
        _Cues(),
        distant=False,
    )
    pipeline = attrs.evolve(SETTINGS, end_phrases=(), farewell="", fillers=frozenset())
    async with open_agent(name, config, pipeline, stages, shared) as agent:
        yield agent


# --- of one piece


@attrs.define(eq=False)
class ScriptedSession(FakeSession):
    """Hears phrases, and answers them."""

    script: Script = attrs.field(kw_only=True)
    _answering: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _asked: trio.MemorySendChannel[str] = attrs.field(init=False)
    asked: trio.MemoryReceiveChannel[str] = attrs.field(init=False)
    _code: int = 0
    _last_speech: float = 0.0

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._asked, self.asked = trio.open_memory_channel[str](16)

    def feed(self, pcm: bytes, at: float) -> None:
        if any(pcm):
            if not self._code:
                self._code = pcm[0]
                self.emit(tells.CallerSpeechStarted(at), tells.CallerTakesTurn(at))
            self._last_speech = at
        elif self._code and at - self._last_speech >= TURN_END:
            words, self._code = self.script.phrases.get(self._code, ""), 0
            self.emit(tells.CallerText(words), tells.CallerSpeechEnded(at, self._last_speech))
            self._ask(words)

    def resume(self) -> None:
        said = [turn.text for turn in self.history.turns if turn.speaker is Speaker.CALLER and turn.text]
        if said:
            self._ask(said[-1])

    def tool_result(self, call: str, result: str) -> None:
        self._ask(result)

    def interrupt(self) -> None:
        self._answering.cancel()

    def emit(self, *events: SessionEvent) -> None:
        try:
            super().emit(*events)
        except trio.BrokenResourceError:
            pass  # nobody is interested any more

    async def say(self, text: str) -> SayOutcome:
        await self.script.step(AGENT)
        await self.utter(text, seconds=SECONDS_A_WORD * len(text.split()), aside=True)
        return SayOutcome.SPOKEN

    def _ask(self, words: str) -> None:
        try:
            self._asked.send_nowait(words)
        except trio.WouldBlock:
            pass

    async def answer_all(self) -> None:
        """Answer what is asked, one thing after the other."""
        async for words in self.asked:
            with trio.CancelScope() as self._answering:
                await self._answer(self.script.answers.get(words, ()))

    async def _answer(self, pieces: Sequence[Piece]) -> None:
        for number, piece in enumerate(pieces):
            await self.script.step(AGENT)
            await trio.sleep(0.02)
            if isinstance(piece, Exception):
                self.emit(tells.Ended(str(piece)))
            elif isinstance(piece, ToolCall):
                self.emit(tells.ToolRequested(piece.name, piece.arguments, f"{piece.call}-{number}"))
            else:
                await self.utter(piece, seconds=SECONDS_A_WORD * len(piece.split()))


@attrs.frozen
class ScriptedAgent:
    """See agentd.agent.Agent."""

    script: Script
    readiness: Readiness = READY
    rates: Sequence[int] = (RATE,)

    @asynccontextmanager
    async def open(
        self, _call: CallInfo, history: History, playout: Playout, _tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[ScriptedSession]:
        async with self.script.session():
            await self.script.step(AGENT)
            able = Capabilities(takes_turns=True, speaks_verbatim=True, takes_digits=True, answers_probes=True)
            session = ScriptedSession(history, playout, able, script=self.script)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.answer_all)
                yield session
                nursery.cancel_scope.cancel()

    async def synthesise(self, text: str) -> Sequence[Audio]:
        await trio.lowlevel.checkpoint()
        return (Audio(0, 0, spoken(text), RATE),)


@asynccontextmanager
async def _open_full(_name: str, config: AgentConfig, _shared: SharedServices) -> AsyncIterator[ScriptedAgent]:
    settings = config.settings
    assert isinstance(settings, ScriptSettings)
    await trio.lowlevel.checkpoint()
    yield ScriptedAgent(settings.script)


BROKEN = ProviderUnavailable("the engine died")
PROVIDERS = {
    "walk_pipeline": Provider(ScriptSettings, _open_pipeline),
    "walk_full": Provider(ScriptSettings, _open_full),
}
"""For agentd_providers.registry."""
