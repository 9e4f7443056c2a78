"""An agent that is none, for tests of what is around it."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from agentd import session_events as tells
from agentd.agent import (
    Audio,
    CallInfo,
    Capabilities,
    Playout,
    Readiness,
    SayOutcome,
    SegmentEnd,
    SegmentStart,
    ToolDeclaration,
    UtteranceEnd,
)
from agentd.errors import ProviderUnavailable
from agentd.history import History
from agentd.serving.breaker import CircuitBreaker
from agentd.session_events import SessionEvent
from agentd.testing.sound import RATE, voice

CAPABLE = Capabilities(takes_turns=True, speaks_verbatim=True, takes_digits=True)


@attrs.define(eq=False)
class FakeSession:
    """A session that says what the test tells it to. `lively`: probes bring `Alive`. `refuses`: it says no words that
    are given to it."""

    history: History
    playout: Playout
    capabilities: Capabilities = CAPABLE
    lively: bool = True
    refuses: bool = False
    halting: bool = False
    """It begins to say what it is asked to, and does not come to the end."""
    slow_to_say: float = 0.0
    """Seconds until it begins to say what it is asked to."""
    fed: list[bytes] = attrs.field(factory=list)
    fed_at: list[float] = attrs.field(factory=list)
    """When what was fed had arrived on the line."""
    digits: list[str] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)
    told: list[str] = attrs.field(factory=list)
    """What the call asked of the session: "answer", "withhold", "interrupt", "resume", "probe", "tool_result"."""
    resumed_from: list[str] = attrs.field(factory=list)
    """What the history said when it was asked to resume."""
    probed_at: list[float] = attrs.field(factory=list)
    results: list[tuple[str, str]] = attrs.field(factory=list)
    """Of tools: the request's name and what came of it."""
    begun: list[int] = attrs.field(factory=list)
    """Utterances of which it was told that they begin to be heard."""
    reports: list[tuple[int, int, bool]] = attrs.field(factory=list)
    utterances: int = 0
    """The number of its last utterance."""
    _failing: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)
    _send: trio.MemorySendChannel[SessionEvent] = attrs.field(init=False)
    events: trio.MemoryReceiveChannel[SessionEvent] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self.events = trio.open_memory_channel[SessionEvent](512)

    @property
    def interruptions(self) -> int:
        return self.told.count("interrupt")

    def emit(self, *events: SessionEvent) -> None:
        for event in events:
            self._send.send_nowait(event)

    def close_events(self) -> None:
        self._send.close()

    def fail(self, error: Exception) -> None:
        """Its provider raises this out of the context manager that gave the session."""
        self._failure = error
        self._failing.set()

    async def until_failing(self) -> None:
        await self._failing.wait()
        assert self._failure is not None
        raise self._failure

    def feed(self, pcm: bytes, at: float) -> None:
        self.fed.append(pcm)
        self.fed_at.append(at)

    def feed_text(self, text: str) -> None:
        raise NotImplementedError

    def feed_digits(self, digits: str) -> None:
        self.digits.append(digits)

    async def say(self, text: str) -> SayOutcome:
        self.said.append(text)
        await trio.sleep(self.slow_to_say)
        if self.refuses:
            await trio.lowlevel.checkpoint()
            return SayOutcome.REFUSED
        await self.utter(text, aside=True, whole=not self.halting)
        return SayOutcome.SPOKEN

    async def utter(self, *segments: str, seconds: float = 1.0, aside: bool = False, whole: bool = True) -> bytes:
        """Put an utterance of these segments into the playout, `seconds` of voice each; gives the voice. One that is
        not `whole` is to be gone on with: its end is not told."""
        number, generation = self._begin(aside)
        spoken = voice(seconds * len(segments), seed=number)
        each = len(spoken) // len(segments)
        for at, text in enumerate(segments):
            await self.playout.put(SegmentStart(generation, number, text))
            await self.playout.put(Audio(generation, number, spoken[at * each : (at + 1) * each], RATE))
            if whole or at < len(segments) - 1:
                await self.playout.put(SegmentEnd(generation, number))
        if whole:
            await self._end(number, generation)
        return spoken

    async def go_on(self, text: str, seconds: float = 1.0) -> bytes:
        """The last segment of the last utterance; gives its voice."""
        number, generation = self.utterances, self.playout.generation
        spoken = voice(seconds, seed=number + 500)
        await self.playout.put(SegmentStart(generation, number, text))
        await self.playout.put(Audio(generation, number, spoken, RATE))
        await self._end(number, generation)
        return spoken

    async def utter_beside(self, text: str, seconds: float = 1.0, *, late: bool = False, whole: bool = True) -> bytes:
        """The same as a vendor does it whose words come beside the audio: before it, or `late`, by `tell_words`."""
        number, generation = self._begin(aside=False)
        spoken = voice(seconds, seed=number)
        if not late:
            self.tell_words(text)
        await self.playout.put(SegmentStart(generation, number, ""))
        await self.playout.put(Audio(generation, number, spoken, RATE))
        if whole:
            await self._end(number, generation)
        return spoken

    def tell_words(self, *texts: str) -> None:
        """Words of the last utterance."""
        self.emit(*(tells.AgentText(self.utterances, text) for text in texts))

    def _begin(self, aside: bool) -> tuple[int, int]:
        self.utterances = self.playout.number()
        self.emit(tells.UtteranceStarted(self.utterances, aside))
        return self.utterances, self.playout.generation

    async def _end(self, number: int, generation: int) -> None:
        await self.playout.put(UtteranceEnd(generation, number))
        self.emit(tells.UtteranceEnded(number))

    def answer(self) -> None:
        self.told.append("answer")

    def withhold(self) -> None:
        self.told.append("withhold")

    def interrupt(self) -> None:
        self.told.append("interrupt")

    def resume(self) -> None:
        self.told.append("resume")
        self.resumed_from = [turn.text for turn in self.history.turns]

    def probe(self) -> None:
        self.told.append("probe")
        self.probed_at.append(trio.current_time())
        if self.lively:
            self.emit(tells.Alive())

    def tool_result(self, call: str, result: str) -> None:
        self.told.append("tool_result")
        self.results.append((call, result))

    def started(self, utterance: int) -> None:
        self.begun.append(utterance)

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        self.reports.append((utterance, milliseconds, completed))


async def _at_once() -> None:
    await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class FakeAgent:
    """`opening` runs before a session is there: it may wait, raise, or stand still. `closing` are the seconds that a
    session takes to close, whatever happens."""

    opening: Callable[[], Awaitable[None]] = _at_once
    closing: float = 0.0
    capabilities: Capabilities = CAPABLE
    lively: bool = True
    refuses: bool = False
    rates: Sequence[int] = (RATE,)
    readiness: Readiness = attrs.field(factory=lambda: Readiness(True))
    breaker: CircuitBreaker = attrs.field(factory=CircuitBreaker)
    sessions: list[FakeSession] = attrs.field(factory=list)
    on_session: Callable[[FakeSession], object] = lambda session: None
    """Told of each session that opens."""
    calls: list[CallInfo] = attrs.field(factory=list)
    tools: Sequence[ToolDeclaration] = ()
    """What the last session was given."""
    histories: list[list[str]] = attrs.field(factory=list)
    """What the history said when each session was opened."""
    opened_at: list[float] = attrs.field(factory=list)
    closed: int = 0
    ready: trio.Event = attrs.field(factory=trio.Event)

    @property
    def session(self) -> FakeSession:
        return self.sessions[-1]

    def break_down(self, reason: str) -> None:
        """The session ends on a failure, and no other one will open."""
        self.opening = failing(ProviderUnavailable(reason))
        self.session.emit(tells.Ended(reason))

    @property
    def opened(self) -> int:
        """How often it was asked for a session."""
        return len(self.opened_at)

    @asynccontextmanager
    async def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[FakeSession]:
        self.opened_at.append(trio.current_time())
        self.calls.append(call)
        self.tools = tools
        self.histories.append([turn.text for turn in history.turns])
        try:
            await self.opening()
            session = FakeSession(history, playout, self.capabilities, self.lively, self.refuses)
            self.sessions.append(session)
            self.on_session(session)
            self.ready.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.until_failing)
                yield session
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.closing)
            self.closed += 1

    async def synthesise(self, text: str) -> Sequence[Audio]:
        return (Audio(0, 0, voice(0.5), RATE),)


async def stand_still() -> None:
    await trio.sleep(math.inf)


def failing(error: Exception, after: float = 0.0) -> Callable[[], Awaitable[None]]:
    """An opening that fails."""

    async def fail() -> None:
        await trio.sleep(after)
        raise error

    return fail
