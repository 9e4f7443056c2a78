"""One AudioSocket connection: handshake, a reader that always drains, and one writer on the line's clock."""

from collections.abc import Callable, Iterator

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.audiosocket.frames import (
    HANGUP_FRAME,
    Allowance,
    AudioFrame,
    CallId,
    DtmfFrame,
    ErrorFrame,
    Frame,
    FrameParser,
    HangupFrame,
    UnknownFrame,
    pack_audio,
)
from agentd.errors import MediaProtocolError
from agentd.media.clock import LineClock
from agentd.media.leg import FRAME_SECONDS, LineFormat, NextFrame
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.audiosocket")

READ_BYTES = 4096
SEND_DEADLINE = deadlines.LINE_SEND.seconds


@attrs.define(eq=False)
class AudioSocketConnection:
    """A connection whose peer is an Asterisk; the listener makes it, a call serves and releases it.

    Meets agentd.media.leg.MediaConnection. The listener's handler stays parked on `released` for as long as a call owns
    the connection, because the stream is closed when that handler returns (agentd.accepting).
    """

    stream: trio.abc.Stream
    peer: str
    metrics: Metrics
    line: LineFormat = attrs.field(factory=LineFormat)
    """The format that it will carry, as far as that is known: silence before it is served is sent in it."""
    released: trio.Event = attrs.field(factory=trio.Event, init=False)
    call_uuid: CallId | None = attrs.field(default=None, init=False)
    _parser: FrameParser = attrs.field(factory=FrameParser, init=False)
    _early: list[Frame] = attrs.field(factory=list, init=False)
    _allowance: Allowance = attrs.field(factory=Allowance, init=False)
    _warned: set[str] = attrs.field(factory=set, init=False)
    _hanging_up: bool = attrs.field(default=False, init=False)
    _served: trio.Event = attrs.field(factory=trio.Event, init=False)
    _sender: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    """Held by whoever writes: two at a time would send a frame within a frame."""
    _clogged: bool = attrs.field(default=False, init=False)

    @property
    def lead(self) -> None:
        """agentd clocks an AudioSocket, and nothing buffers behind it."""
        return None

    @property
    def doubtful(self) -> bool:
        """TCP tells its end."""
        return False

    async def handshake(self) -> CallId:
        """Read the first frame, which must be the UUID, and answer with a first frame of silence.

        Asterisk starves legs whose server waits for audio before it sends any (asterisk issue 2089), hence
        the silence at once. The caller sets the deadline.

        Raises:
            MediaProtocolError: the first frame is something else, the bytes are no frames, or EOF came first.
            trio.BrokenResourceError: the connection broke.
        """
        while self.call_uuid is None:
            data = await self.stream.receive_some(READ_BYTES)
            if not data:
                raise MediaProtocolError(f"{self.peer} closed the connection before it sent a UUID frame")
            for frame in self._parser.feed(bytes(data)):
                if self.call_uuid is not None:
                    self._early.append(frame)
                elif isinstance(frame, CallId):
                    self.call_uuid = frame
                else:
                    raise MediaProtocolError(f"the first frame must be a UUID, {self.peer} sent {frame}")
        await self.stream.send_all(_silence(self.line))
        return self.call_uuid

    async def carry_silence(self) -> None:
        """Send silence every 20 ms from the handshake on until a call serves the connection.

        While the media channel goes from its application into a bridge, two threads of Asterisk read from it. One that
        comes too late for a frame waits for the next with the channel locked, and whatever is asked of Asterisk about
        that channel waits for it: without a next frame for ever (seen on 22.10, in 2 of 100 calls on a busy host).

        Cancelling it may cut a frame in two, so the connection must be closed then.
        """
        async with self._sender:
            while not self._served.is_set():
                with trio.move_on_after(FRAME_SECONDS):
                    await self._served.wait()
                    return
                try:
                    if not await self._send(_silence(self.line)):
                        return
                except trio.BrokenResourceError:
                    return  # whoever serves it is told the same

    async def serve(
        self,
        line: LineFormat,
        receive: Callable[[bytes, int, float], None],
        press: Callable[[str], None],
        next_frame: NextFrame,
        beat: Callable[[], None],
    ) -> str:
        """See agentd.media.leg.MediaConnection.serve. `next_frame()` is asked once every 20 ms, `beat()` is called once
        a written frame.

        Cancelling it may cut a frame in two, so the connection must be closed then: `release` it.
        """
        self._served.set()
        ended: list[str] = []

        async def read() -> None:
            ended.append(await self._read(receive, press))
            nursery.cancel_scope.cancel()

        async def write() -> None:
            async with self._sender:
                ended.append(await self._write(line, next_frame, beat))
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
        return ended[0] if ended else "cancelled"

    def hang_up(self) -> None:
        """Have the writer send a hangup frame next, and `serve` return. `AudioSocket()` ends and its dialplan goes on;
        an AudioSocket channel hangs up (Asterisk 22 res_audiosocket.c, chan_audiosocket.c)."""
        self._hanging_up = True

    def release(self) -> None:
        """Give the connection up: the listener's handler closes it."""
        self.released.set()

    async def _read(self, receive: Callable[[bytes, int, float], None], press: Callable[[str], None]) -> str:
        early, self._early = self._early, []
        try:
            if reason := self._dispatch(iter(early), receive, press):
                return reason
            while data := await self.stream.receive_some(READ_BYTES):
                if reason := self._dispatch(self._parser.feed(bytes(data)), receive, press):
                    return reason
                if rest := self._allowance.rest(trio.current_time()):
                    await trio.sleep(rest)
        except MediaProtocolError as error:
            return f"protocol error: {error}"
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:  # closed: its handler has failed
            return f"connection broke: {error.__cause__ or error}"
        return "connection cut inside a frame" if self._parser.mid_frame else "closed by Asterisk"

    def _dispatch(
        self, frames: Iterator[Frame], receive: Callable[[bytes, int, float], None], press: Callable[[str], None]
    ) -> str | None:
        """Hand frames on; gives a reason when one of them ends the connection."""
        for frame in frames:
            self._allowance.spend(frame)
            match frame:
                case AudioFrame(rate, payload):
                    if len(payload) % 2 or not payload:
                        self._warn("AudioSocket audio that is no whole number of samples", length=len(payload))
                    if whole := payload[: len(payload) & ~1]:
                        receive(whole, rate, trio.current_time())
                case DtmfFrame(digit):
                    press(digit)
                case HangupFrame():
                    return "hangup frame from Asterisk"
                case ErrorFrame(code):
                    return f"error frame from Asterisk, code {code}"
                case UnknownFrame(kind, length):
                    self.metrics.audiosocket_unknown_frames.inc()
                    self._warn("unknown AudioSocket frame skipped", kind=f"{kind:#04x}", length=length)
                case CallId(uuid):
                    return f"second UUID frame ({uuid})"
        return None

    def _warn(self, what: str, **fields: object) -> None:
        """Tell of something that a peer may do with each frame, once a connection."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning(what, peer=self.peer, **fields)

    async def _write(self, line: LineFormat, next_frame: NextFrame, beat: Callable[[], None]) -> str:
        silence = _silence(line)
        clock = LineClock(self.metrics)
        try:
            while not self._clogged:
                await clock.frame()
                hanging_up = self._hanging_up  # it may be asked for while a frame is being sent
                if hanging_up:
                    frame = HANGUP_FRAME
                else:
                    pcm = next_frame()
                    frame = silence if pcm is None else pack_audio(line.rate, pcm)
                if not await self._send(frame):
                    break
                if hanging_up:
                    return "hung up by agentd"
                beat()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            return f"connection broke: {error.__cause__ or error}"
        return f"Asterisk accepted no audio for {SEND_DEADLINE:g} s"

    async def _send(self, frame: bytes) -> bool:
        """Send a frame in one piece; false where it was not accepted in time, after which nothing can be sent."""
        with trio.move_on_after(SEND_DEADLINE) as deadline:
            await self.stream.send_all(frame)
        self._clogged = deadline.cancelled_caught
        return not self._clogged


def _silence(line: LineFormat) -> bytes:
    """A frame of silence as it is sent."""
    return pack_audio(line.rate, bytes(line.frame_bytes))
