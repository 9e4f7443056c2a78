"""An agent, a playback and a pipeline's engines that are none, for tests of what is around them."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from agentd.agent import (
    Audio,
    CallInfo,
    Capabilities,
    History,
    Playout,
    Readiness,
    SayOutcome,
    SegmentStart,
    SessionEvent,
    UtteranceEnd,
)
from agentd.ari.events import PlaybackFinished, PlaybackStarted
from agentd.errors import PlaybackError
from agentd.playback.contract import Announcement, Heard
from agentd.playout import UtteranceStream


@attrs.define(eq=False)
class FakeSession:
    """A session that says what the test tells it to."""

    history: History
    playout: Playout
    capabilities: Capabilities = attrs.field(
        factory=lambda: Capabilities(takes_turns=True, speaks_verbatim=True, takes_digits=True)
    )
    fed: list[bytes] = attrs.field(factory=list)
    digits: list[str] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)
    reports: list[tuple[int, int, bool]] = attrs.field(factory=list)
    interruptions: int = 0
    utterances: int = 0
    _send: trio.MemorySendChannel[SessionEvent] = attrs.field(init=False)
    events: trio.MemoryReceiveChannel[SessionEvent] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self.events = trio.open_memory_channel[SessionEvent](256)

    def emit(self, *events: SessionEvent) -> None:
        for event in events:
            self._send.send_nowait(event)

    def close_events(self) -> None:
        self._send.close()

    def feed(self, pcm: bytes, at: float) -> None:
        self.fed.append(pcm)

    def feed_text(self, text: str) -> None:
        raise NotImplementedError

    def feed_digits(self, digits: str) -> None:
        self.digits.append(digits)

    async def say(self, text: str) -> SayOutcome:
        self.said.append(text)
        await self.utter(text)
        return SayOutcome.SPOKEN

    async def utter(self, text: str) -> int:
        """Put an utterance of one segment into the playout."""
        self.utterances += 1
        number, generation = self.utterances, self.playout.generation
        await self.playout.put(SegmentStart(generation, number, text))
        await self.playout.put(Audio(generation, number, bytes(1600), 8000))
        await self.playout.put(UtteranceEnd(generation, number))
        return number

    def interrupt(self) -> None:
        self.interruptions += 1

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        self.reports.append((utterance, milliseconds, completed))


async def _at_once() -> None:
    await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class FakeAgent:
    """`opening` runs before a session is there: it may wait, raise, or stand still."""

    opening: Callable[[], Awaitable[None]] = _at_once
    sessions: list[FakeSession] = attrs.field(factory=list)
    opened: int = 0
    closed: int = 0
    ready: trio.Event = attrs.field(factory=trio.Event)

    @property
    def session(self) -> FakeSession:
        return self.sessions[-1]

    @property
    def readiness(self) -> Readiness:
        return Readiness(True)

    @asynccontextmanager
    async def open(self, call: CallInfo, history: History, playout: Playout) -> AsyncIterator[FakeSession]:
        self.opened += 1
        try:
            await self.opening()
            self.sessions.append(FakeSession(history, playout))
            self.ready.set()
            yield self.session
        finally:
            self.closed += 1

    async def synthesise(self, text: str) -> Sequence[Audio]:
        return (Audio(0, 0, bytes(1600), 8000),)


@attrs.define(eq=False)
class FakePlayback:
    """Plays nothing, in the time that it would take: `seconds` an utterance. See agentd.playback.contract."""

    seconds: float = 1.0
    failure: str = ""
    log: list[str] = attrs.field(factory=list)
    announcement_failure: str = ""
    stopping: float = 0.0
    """Seconds that a stop takes."""
    playing: int = 0
    _stop: trio.Event = attrs.field(factory=trio.Event)

    async def play(self, stream: UtteranceStream, on_started: Callable[[], None]) -> Heard:
        words: list[str] = []
        while (chunk := await stream.next()) is not None:
            if isinstance(chunk, SegmentStart):
                words.append(chunk.text)
        text = " ".join(words)
        if self.failure:
            raise PlaybackError(self.failure)
        if stream.interrupted:
            return Heard(0, False, "", text)
        self.playing += 1
        self._stop, started = trio.Event(), trio.current_time()
        try:
            on_started()
            self.log.append(f"play {text}")
            with trio.move_on_after(self.seconds) as time:
                await self._stop.wait()
        finally:
            self.playing -= 1
        heard = round(1000 * (trio.current_time() - started))
        done = time.cancelled_caught
        return Heard(heard, done, text if done else text.split()[0], text)

    async def announce(self, announcement: Announcement) -> None:
        if self.announcement_failure:
            raise PlaybackError(self.announcement_failure)
        self.playing += 1
        try:
            self.log.append(f"announce {announcement.sound or len(announcement.audio)}")
            await trio.sleep(self.seconds)
        finally:
            self.playing -= 1

    async def stop(self) -> None:
        await trio.sleep(self.stopping)
        self.log.append("stop")
        self._stop.set()

    def on_event(self, event: PlaybackStarted | PlaybackFinished) -> None:
        self.log.append(f"{type(event).__name__} {event.playback}")


async def stand_still() -> None:
    await trio.sleep(math.inf)
