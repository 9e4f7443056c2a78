"""Two transports in memory, one of each kind of line: what a room of a transport's own has to have, and no more.

Each has the end that agentd holds, which meets `MediaConnection`, and the peer behind it with the caller's ear. The
one is clocked by agentd. The other clocks itself as Asterisk's chan_websocket does: the peer has a queue, plays a frame
of it every 20 ms of its own clock, reports marks, drops its queue at a flush, and says stop and go.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import attrs
import trio

from agentd.errors import MediaTimeout
from agentd.media.leg import FRAME_SECONDS, LONGEST_LEAD, LineFormat, NextFrame
from agentd.media.transport import ExternalMedia
from agentd.transports import Daemon, Row, Running

LATENCY = 0.003
"""Seconds that a message takes from one end of a self-clocked line to the other."""
PHASE = 0.011
"""Seconds by which the peer's clock lags behind agentd's."""
MARGIN = 3
"""A self-clocked line's frame is due when fewer are ahead."""
MARK_EVERY = 5


@attrs.define(eq=False)
class MemoryLine:
    """What both kinds have: the caller's end, and how it all ends."""

    peer: str = "memory"
    frames: list[tuple[float, bytes]] = attrs.field(factory=list)
    """When each frame began to be heard, and its slin."""
    released: bool = False
    _news: trio.MemorySendChannel[bytes | str | None] = attrs.field(init=False)
    _received: trio.MemoryReceiveChannel[bytes | str | None] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._news, self._received = trio.open_memory_channel[bytes | str | None](math.inf)

    # --- the caller's end

    def since(self, at: float) -> list[bytes]:
        return [pcm for heard_at, pcm in self.frames if heard_at >= at]

    def speak(self, pcm: bytes) -> None:
        """A frame of the caller's."""
        self._news.send_nowait(pcm)

    def press(self, digit: str) -> None:
        self._news.send_nowait(digit)

    def cut(self) -> None:
        """The peer goes away."""
        self._news.send_nowait(None)

    # --- agentd's

    def hang_up(self) -> None:
        self.cut()

    def release(self) -> None:
        self.released = True

    @property
    def doubtful(self) -> bool:
        return False

    async def _read(self, line: LineFormat, receive, press) -> str:  # type: ignore[no-untyped-def]
        while (news := await self._received.receive()) is not None:
            if isinstance(news, str):
                press(news)
            else:
                receive(news, line.rate, trio.current_time())
        return "closed by the peer"


@attrs.define(eq=False)
class ClockedLine(MemoryLine):
    """agentd gives a frame every 20 ms, and the caller hears it."""

    @property
    def lead(self) -> None:
        return None

    async def serve(self, line: LineFormat, receive, press, next_frame: NextFrame, beat) -> str:  # type: ignore[no-untyped-def]
        async def write() -> None:
            due = trio.current_time()
            while True:
                self.frames.append((trio.current_time(), next_frame() or bytes(line.frame_bytes)))
                beat()
                due += FRAME_SECONDS
                await trio.sleep_until(due)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            reason = await self._read(line, receive, press)
            nursery.cancel_scope.cancel()
        return reason


@attrs.frozen
class Mark:
    """The frame with this number comes next; it was sent after so many flushes."""

    number: int
    flushes: int


@attrs.frozen
class Flush:
    """Forget what waits."""


@attrs.frozen
class Stop:
    """Send no more (XOFF), or go on (XON)."""

    stop: bool


@attrs.define(eq=False)
class SelfClockedLine(MemoryLine):
    """The peer takes frames ahead. agentd estimates by the last mark and the clock what of them was heard."""

    flushes: int = 0
    stopped: bool = False
    _sent: int = attrs.field(default=0, init=False)
    """Frames that were sent and not taken back."""
    _begun: int = attrs.field(default=0, init=False)
    """Of those, how many had surely begun to be heard when there was a mark last; and when that was, or never."""
    _begun_at: float = attrs.field(default=math.inf, init=False)
    _unmarked: int = attrs.field(default=MARK_EVERY, init=False)
    _ended_at: float = attrs.field(default=math.inf, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _to_peer: deque[tuple[float, object]] = attrs.field(factory=deque, init=False)
    _to_agentd: deque[tuple[float, object]] = attrs.field(factory=deque, init=False)
    _posted: trio.Event = attrs.field(factory=trio.Event, init=False)
    _queue: deque[bytes | Mark] = attrs.field(factory=deque, init=False)

    # --- agentd's end

    @property
    def lead(self) -> "SelfClockedLine":
        return self

    @property
    def ahead(self) -> int:
        now = min(trio.current_time(), self._ended_at)
        since = max(math.floor((now - self._begun_at) / FRAME_SECONDS), 0) if self._begun_at < math.inf else 0
        return self._sent - min(self._begun + since, self._sent)

    def take_back(self) -> int:
        count = self.ahead
        self._sent -= count
        if count and self._ended_at == math.inf:
            self.flushes += 1
            self._begun, self._begun_at, self._unmarked = self._sent, math.inf, MARK_EVERY
            self._post(self._to_peer, Flush())
            self._wake.set()
        return count

    async def serve(self, line: LineFormat, receive, press, next_frame: NextFrame, beat) -> str:  # type: ignore[no-untyped-def]
        async def write() -> None:
            due = trio.current_time()
            while True:
                self._fill(line, next_frame)
                self._wake = trio.Event()
                with trio.move_on_at(due + FRAME_SECONDS):
                    await self._wake.wait()
                    continue
                due += FRAME_SECONDS
                beat()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(self._deliver)
            nursery.start_soon(self._play)
            try:
                reason = await self._read(line, receive, press)
            finally:
                self._ended_at = trio.current_time()
            nursery.cancel_scope.cancel()
        return reason

    def _fill(self, line: LineFormat, next_frame: NextFrame) -> None:
        while not self.stopped and (ahead := self.ahead) < LONGEST_LEAD:
            due = ahead < MARGIN
            frame = next_frame(ahead=not due)
            if frame is None and not due:
                return
            if self._unmarked >= MARK_EVERY:
                self._unmarked = 0
                self._post(self._to_peer, Mark(self._sent, self.flushes))
            self._unmarked += 1
            self._sent += 1
            self._post(self._to_peer, frame or bytes(line.frame_bytes))

    # --- what is between the two

    def _post(self, way: deque[tuple[float, object]], message: object) -> None:
        way.append((trio.current_time() + LATENCY, message))
        self._posted.set()

    async def _deliver(self) -> None:
        while True:
            self._posted = trio.Event()
            arrivals = [way[0][0] for way in (self._to_peer, self._to_agentd) if way]
            with trio.move_on_at(min(arrivals, default=math.inf)):
                await self._posted.wait()
            while self._to_peer and self._to_peer[0][0] <= trio.current_time():
                self._peer_gets(self._to_peer.popleft()[1])
            while self._to_agentd and self._to_agentd[0][0] <= trio.current_time():
                self._agentd_gets(self._to_agentd.popleft()[1])

    def _agentd_gets(self, message: object) -> None:
        match message:
            case Mark(number, flushes) if flushes == self.flushes:
                self._begun, self._begun_at = number + 1, trio.current_time()
            case Stop(stop):
                self.stopped = stop
                self._wake.set()

    # --- the peer

    def say_stop(self, stop: bool) -> None:
        """The peer says XOFF, or XON."""
        self._post(self._to_agentd, Stop(stop))

    def _peer_gets(self, message: object) -> None:
        match message:
            case bytes() | Mark():
                self._queue.append(message)
            case Flush():
                self._queue.clear()

    async def _play(self) -> None:
        due = trio.current_time() + PHASE
        while True:
            await trio.sleep_until(due)
            due += FRAME_SECONDS
            while self._queue and isinstance(mark := self._queue[0], Mark):
                self._queue.popleft()
                self._post(self._to_agentd, mark)
            if self._queue:
                frame = self._queue.popleft()
                assert isinstance(frame, bytes)
                self.frames.append((trio.current_time(), frame))


@attrs.define(eq=False)
class MemoryTransport:
    """Meets agentd.media.transport.Transport with lines of one kind. `connect` is what Asterisk does when asked."""

    name: str
    kind: type[ClockedLine] | type[SelfClockedLine]
    bind_timeout: float = 5.0
    way: str = "nobody has to connect"
    all: list[ClockedLine | SelfClockedLine] = attrs.field(factory=list)
    """The lines that came to be, in order."""
    expected: dict[UUID, "MemoryLeg"] = attrs.field(factory=dict)

    def carries(self, rate: int, asterisk: str | None = None) -> bool:
        return rate == 8000

    @contextmanager
    def expect(self, leg: UUID, line: LineFormat) -> Iterator["MemoryLeg"]:
        expected = self.expected[leg] = MemoryLeg(ExternalMedia("memory", "none", "here", "slin", str(leg)))
        try:
            yield expected
        finally:
            del self.expected[leg]
            if expected.line is not None and not expected.taken:
                expected.line.release()

    def connect(self, leg: UUID) -> None:
        line = self.kind()
        self.all.append(line)
        self.expected[leg].line = line
        self.expected[leg].came.set()

    @property
    def row(self) -> Row:
        """The row of a table that it is."""

        @asynccontextmanager
        async def open_it(daemon: Daemon) -> AsyncIterator[Running]:
            await trio.lowlevel.checkpoint()
            yield Running((self,))

        return Row((self.name,), open_it)


@attrs.define(eq=False)
class MemoryLeg:
    """Meets agentd.media.transport.ExpectedLeg."""

    request: ExternalMedia
    line: ClockedLine | SelfClockedLine | None = None
    came: trio.Event = attrs.field(factory=trio.Event)
    taken: bool = False

    def told(self, variables: Mapping[str, str]) -> None:
        pass

    async def connection(self, deadline: float) -> ClockedLine | SelfClockedLine:
        with trio.move_on_after(deadline):
            await self.came.wait()
            assert self.line is not None
            self.taken = True
            return self.line
        raise MediaTimeout("nobody came")
