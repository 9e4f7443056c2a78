"""One leg over chan_websocket: audio both ways as messages of a WebSocket, on Asterisk's clock."""

import math
from collections import deque
from collections.abc import Callable, Iterator

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.chan_websocket.ahead import Ahead
from agentd.chan_websocket.commands import FLUSH_MEDIA, HANG_UP, REPORT_QUEUE_DRAINED, mark_media
from agentd.chan_websocket.events import (
    CommandFailed,
    DigitEnded,
    GoOnSending,
    MarkProcessed,
    MediaStart,
    OtherEvent,
    QueueDrained,
    StopSending,
    parse_event,
)
from agentd.errors import MediaProtocolError, WebSocketError
from agentd.media.clock import LineClock
from agentd.media.leg import LONGEST_LEAD, LineFormat, NextFrame
from agentd.metrics import Metrics
from agentd.websocket import WebSocket

log = structlog.get_logger("agentd.chan_websocket")

MARGIN = 3
"""A frame is due when fewer are ahead: silence is sent for 60 ms, so that a late loop leaves no hole in the line."""
EARLY = 50
"""Messages with audio that may come before MEDIA_START: a second."""
SEND_DEADLINE = deadlines.LINE_SEND.seconds
STILL_DEADLINE = deadlines.MEDIA_STILL.seconds


@attrs.define(eq=False)
class ChanWebSocketConnection:
    """A WebSocket that is open. A call serves and releases it; whoever runs it closes it once it is released.

    Meets agentd.media.leg.MediaConnection, and is its own Lead. Asterisk has a queue, and plays a frame of it every
    20 ms. It is kept full to `LONGEST_LEAD` frames while there is sound, and to `MARGIN` with silence: where its queue
    is empty, Asterisk sends the telephone nothing at all. What is taken back is flushed, and what comes instead goes
    into the queue behind the flush.
    """

    socket: WebSocket
    peer: str
    line: LineFormat
    metrics: Metrics
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    """The daemon's; without one a clock of its own."""
    released: trio.Event = attrs.field(factory=trio.Event, init=False)
    _early: deque[bytes] = attrs.field(factory=lambda: deque(maxlen=EARLY), init=False)
    _ahead: Ahead = attrs.field(factory=Ahead, init=False)
    _outbox: deque[str | bytes] = attrs.field(factory=deque, init=False)
    """What was taken, and not sent yet: a lead of frames and their marks at most."""
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    """There may be something for the writer to do."""
    _stopped: bool = attrs.field(default=False, init=False)
    """Asterisk has said stop."""
    _moved_at: float = attrs.field(default=math.inf, init=False)
    """When there was room for a frame last: while a queue is played, there is some every 20 ms."""
    _report_due: bool = attrs.field(default=True, init=False)
    _hanging_up: bool = attrs.field(default=False, init=False)
    _ended_at: float = attrs.field(default=math.inf, init=False)
    _warned: set[str] = attrs.field(factory=set, init=False)

    async def begin(self) -> None:
        """Wait until Asterisk has said what the channel carries. The caller sets the deadline.

        Raises MediaProtocolError where that is not the line's format, or the events are none that agentd reads, and
        WebSocketError when the connection is gone.
        """
        while True:
            message = await self.socket.receive()
            if isinstance(message, bytes):  # the bridge may be quicker than the event
                self._early.append(message)
                continue
            match parse_event(message):
                case MediaStart(audio_format, frame_bytes, frame_ms):
                    if frame_bytes != self.line.frame_bytes:
                        raise MediaProtocolError(
                            f"Asterisk carries {audio_format}, {frame_bytes} bytes in {frame_ms} ms, where "
                            f"{self.line.frame_bytes} were asked for"
                        )
                    return
                case CommandFailed(text):
                    raise MediaProtocolError(f"Asterisk begins with an error: {text}")
                case _:
                    pass

    # --- how far it is ahead

    @property
    def lead(self) -> "ChanWebSocketConnection":
        """See agentd.media.leg.MediaConnection."""
        return self

    @property
    def doubtful(self) -> bool:
        """See agentd.media.leg.MediaConnection. The WebSocket's pings tell its end."""
        return False

    @property
    def ahead(self) -> int:
        """See agentd.media.leg.Lead."""
        return self._ahead.frames(self._now)

    def take_back(self) -> int:
        """See agentd.media.leg.Lead. What was not sent yet never is; behind what was, Asterisk is told to flush."""
        count = self._ahead.take_back(self._now)
        if count and self._ended_at == math.inf:
            self._report_due |= REPORT_QUEUE_DRAINED in self._outbox
            self._outbox.clear()
            self._outbox.append(FLUSH_MEDIA)
            self.metrics.chan_websocket_flushes.inc()
            self._wake.set()
        return count

    @property
    def _now(self) -> float:
        """The time, as long as the connection lasts."""
        return min(trio.current_time(), self._ended_at)

    # --- serving it

    async def serve(
        self,
        line: LineFormat,
        receive: Callable[[bytes, int, float], None],
        press: Callable[[str], None],
        next_frame: NextFrame,
        beat: Callable[[], None],
    ) -> str:
        """See agentd.media.leg.MediaConnection.serve.

        Cancelling it may cut a message in two, so the connection must be closed then: `release` it.
        """
        ended: list[str] = []

        async def read() -> None:
            ended.append(await self._read(line, receive, press))
            nursery.cancel_scope.cancel()

        async def write() -> None:
            ended.append(await self._write(line, next_frame))
            nursery.cancel_scope.cancel()

        def tick(_number: int, _now: float) -> None:
            beat()
            self._wake.set()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(write)
                nursery.start_soon(self.clock.keep, tick)
        finally:
            self._ended_at = trio.current_time()
        return ended[0] if ended else "cancelled"

    def hang_up(self) -> None:
        """Have the writer send HANGUP next, and `serve` return: Asterisk hangs up the leg's channel."""
        self._hanging_up = True
        self._wake.set()

    def release(self) -> None:
        """Give the connection up: whoever runs its socket closes it."""
        self.released.set()

    async def _read(
        self, line: LineFormat, receive: Callable[[bytes, int, float], None], press: Callable[[str], None]
    ) -> str:
        def take(pcm: bytes) -> None:
            if len(pcm) % 2 or not pcm:
                self._warn("audio over chan_websocket that is no whole number of samples", length=len(pcm))
            if whole := pcm[: len(pcm) & ~1]:
                receive(whole, line.rate, trio.current_time())

        dropped = self.socket.dropped
        try:
            while self._early:
                take(self._early.popleft())
            while True:
                message = await self.socket.receive()
                if self.socket.dropped > dropped:  # the report of a mark may be among them, which is waited for
                    return "agentd was too late to read what Asterisk sent"
                if isinstance(message, bytes):
                    take(message)
                elif reason := self._told(message, press):
                    return reason
        except MediaProtocolError as error:
            return f"protocol error: {error}"
        except WebSocketError as error:
            return str(error)

    def _told(self, message: str, press: Callable[[str], None]) -> str:
        """Take an event; gives a reason when it ends the connection. Raises MediaProtocolError."""
        match parse_event(message):
            case MarkProcessed(mark):
                self._ahead.reported(mark, trio.current_time())
            case StopSending():
                self._stopped = True
                self.metrics.chan_websocket_stops.inc()
                self._warn("Asterisk's queue is nearly full: it says stop")
            case GoOnSending():
                self._stopped = False
                self._wake.set()
            case QueueDrained():
                self._ahead.drained(trio.current_time())
                self._report_due = True
                self._wake.set()
                self.metrics.chan_websocket_drained.inc()
            case DigitEnded(digit):
                press(digit)
            case CommandFailed(text):
                return f"Asterisk does not do what it is told: {text}"
            case MediaStart():
                return "a second MEDIA_START"
            case OtherEvent(name):
                self._warn("an event of chan_websocket's that agentd does not know", name=name)
        return ""

    async def _write(self, line: LineFormat, next_frame: NextFrame) -> str:
        self._moved_at = trio.current_time()
        try:
            while not self._hanging_up:
                self._wake = trio.Event()
                self._fill(line, next_frame)
                if trio.current_time() - self._moved_at >= STILL_DEADLINE:
                    why = "has said stop, and not go on," if self._stopped else "has played nothing"
                    return f"Asterisk {why} for {STILL_DEADLINE:g} s"
                if self._report_due and not self._stopped:
                    self._report_due = False
                    self._outbox.append(REPORT_QUEUE_DRAINED)
                    self._ahead.asked()
                while self._outbox:
                    await self.socket.send(self._next_message(), SEND_DEADLINE)
                if not self._hanging_up:
                    await self._wake.wait()
            await self.socket.send(HANG_UP, SEND_DEADLINE)
        except WebSocketError as error:
            return str(error)
        return "hung up by agentd"

    def _fill(self, line: LineFormat, next_frame: NextFrame) -> None:
        """Take frames until the lead is full. What is taken counts as given at once: it may be taken back at once."""
        while not self._stopped and (ahead := self.ahead) < LONGEST_LEAD:
            due = ahead < MARGIN
            pcm = next_frame(ahead=not due)
            if pcm is None and not due:
                return
            self._moved_at = trio.current_time()
            if mark := self._ahead.give(self._moved_at):
                self._outbox.append(mark_media(mark))
            self._outbox.append(pcm or bytes(line.frame_bytes))

    def _next_message(self) -> str | bytes:
        """Frames that follow one another go in one message: Asterisk cuts it into frames."""
        first = self._outbox.popleft()
        return first if isinstance(first, str) else b"".join((first, *self._frames()))

    def _frames(self) -> Iterator[bytes]:
        while self._outbox and isinstance(frame := self._outbox[0], bytes):
            self._outbox.popleft()
            yield frame

    def _warn(self, what: str, **fields: object) -> None:
        """Tell of something that a peer may do with each message, once a connection."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning(what, peer=self.peer, **fields)
