"""One AudioSocket connection: handshake, and both ways of its audio on the line's clock."""

from collections.abc import Callable, Iterable

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.audiosocket.frames import (
    HANGUP_FRAME,
    HEADER,
    KIND_OF_RATE,
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
from agentd.audiosocket.wire import Wire
from agentd.errors import MediaProtocolError
from agentd.media.clock import LineClock
from agentd.media.leg import LineFormat, NextFrame
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.audiosocket")

READ_BYTES = 4096
READS_AT_ONCE = 16
"""At a tick: four seconds' worth of audio, after a stall. The rest is read at the next ones, so that no line is in the
way of the others."""
SEND_DEADLINE = deadlines.LINE_SEND.seconds
HUNG_UP = "hung up by agentd"
EXACT = 1e-6
"""Seconds by which sums of frames may differ."""
TICK, HALF_WAY = 0, 1
"""When it is read."""
IN_VAIN = 5
"""Times one after the other, at the tick or half-way, at which nothing had come: then it is read at the other one only,
for as long as something is found there. A peer's frames come at the same time of every 20 ms, and a read in vain is as
dear as any."""
TRIED_AGAIN = 25
"""Of so many times one is tried all the same (twice a second): a peer's clock is another one."""


@attrs.frozen
class _Call:
    """What `serve` was given."""

    line: LineFormat
    receive: Callable[[bytes, int, float], None]
    press: Callable[[str], None]
    next_frame: NextFrame
    beat: Callable[[], None]
    silence: bytes
    header: bytes
    """Of a frame of the line's."""


@attrs.define(eq=False)
class AudioSocketConnection:
    """A connection whose peer is an Asterisk; the listener makes it, a call serves and releases it.

    Meets agentd.media.leg.MediaConnection. The listener's handler stays parked on `released` for as long as a call owns
    the connection, because the stream is closed when that handler returns (agentd.accepting).
    """

    wire: Wire
    peer: str
    metrics: Metrics
    line: LineFormat = attrs.field(factory=LineFormat)
    """The format that it will carry, as far as that is known: silence before it is served is sent in it."""
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    """The daemon's; without one a clock of its own."""
    released: trio.Event = attrs.field(factory=trio.Event, init=False)
    call_uuid: CallId | None = attrs.field(default=None, init=False)
    _parser: FrameParser = attrs.field(factory=FrameParser, init=False)
    _early: list[Frame] = attrs.field(factory=list, init=False)
    _allowance: Allowance = attrs.field(factory=Allowance, init=False)
    _rests_until: float = attrs.field(default=0.0, init=False)
    """Nothing is read until then."""
    _warned: set[str] = attrs.field(factory=set, init=False)
    _hanging_up: bool = attrs.field(default=False, init=False)
    _hung_up: bool = attrs.field(default=False, init=False)
    """The hangup frame is on its way."""
    _call: _Call | None = attrs.field(default=None, init=False)
    _unsent: bytes = attrs.field(default=b"", init=False)
    """What the kernel has not taken of the last frame: it goes before anything else."""
    _blocked_at: float | None = attrs.field(default=None, init=False)
    """Since when there is such."""
    _in_vain: list[int] = attrs.field(factory=lambda: [0, 0], init=False)
    """How many times in a row nothing was found: at the ticks, and half-way."""

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
            data = await self.wire.receive_some(READ_BYTES)
            if not data:
                raise MediaProtocolError(f"{self.peer} closed the connection before it sent a UUID frame")
            for frame in self._parser.feed(data):
                if self.call_uuid is not None:
                    self._early.append(frame)
                elif isinstance(frame, CallId):
                    self.call_uuid = frame
                else:
                    raise MediaProtocolError(f"the first frame must be a UUID, {self.peer} sent {frame}")
        self._send(_silence(self.line), trio.current_time())
        return self.call_uuid

    async def carry_silence(self) -> None:
        """Send silence every 20 ms from the handshake on, whose answer was the first, until a call serves the
        connection.

        While the media channel goes from its application into a bridge, two threads of Asterisk read from it. One that
        comes too late for a frame waits for the next with the channel locked, and whatever is asked of Asterisk about
        that channel waits for it: without a next frame for ever (seen on 22.10, in 2 of 100 calls on a busy host).
        """

        def tick(number: int, now: float) -> bool | None:
            if self._call is not None or self._clogged(now):
                return True
            try:
                if number and self._resume(now):
                    self._send(_silence(self.line), now)
            except trio.BrokenResourceError:
                return True  # whoever serves it is told the same
            return None

        await self.clock.keep(tick)

    async def serve(
        self,
        line: LineFormat,
        receive: Callable[[bytes, int, float], None],
        press: Callable[[str], None],
        next_frame: NextFrame,
        beat: Callable[[], None],
    ) -> str:
        """See agentd.media.leg.MediaConnection.serve. Once every 20 ms `next_frame()` is asked and its frame is sent,
        then `beat()` is called; what has come is received before that, and once more half-way, so that it waits for
        10 ms at the most (for up to 20, and half a second long, where a peer's clock goes faster than this one).

        Nothing waits for a peer that does not read: its frames are left out until it takes the rest of the last one, or
        SEND_DEADLINE has passed. Cancelling it may leave a frame cut in two, so the connection must be closed then:
        `release` it.
        """
        header = HEADER.pack(KIND_OF_RATE[line.rate], line.frame_bytes)
        self._call = call = _Call(line, receive, press, next_frame, beat, _silence(line), header)
        early, self._early = self._early, []
        try:
            if reason := self._dispatch(early, call, trio.current_time()):
                await trio.lowlevel.checkpoint()
                return reason
            return await self.clock.keep(
                lambda _number, now: self._read(call, now, TICK) or self._write(call, now),
                lambda now: self._read(call, now, HALF_WAY),
            )
        except MediaProtocolError as error:
            return f"protocol error: {error}"
        except trio.BrokenResourceError as error:
            return f"connection broke: {error.__cause__ or error}"

    def hang_up(self) -> None:
        """Have a hangup frame sent next, and `serve` return. `AudioSocket()` ends and its dialplan goes on; an
        AudioSocket channel hangs up (Asterisk 22 res_audiosocket.c, chan_audiosocket.c)."""
        self._hanging_up = True

    def release(self) -> None:
        """Give the connection up: the listener's handler closes it."""
        self.released.set()

    # --- what comes

    def _read(self, call: _Call, now: float, when: int) -> str | None:
        """Take what has come; gives a reason where the connection has ended. Raises MediaProtocolError,
        trio.BrokenResourceError."""
        if now < self._rests_until:
            return None
        in_vain = self._in_vain
        in_vain[when] = times = in_vain[when] + 1
        if times > IN_VAIN and times % TRIED_AGAIN and not in_vain[not when]:
            return None
        for _ in range(READS_AT_ONCE):
            if (data := self.wire.read(READ_BYTES)) is None:
                break
            in_vain[when] = 0
            if not data:
                return "connection cut inside a frame" if self._parser.mid_frame else "closed by Asterisk"
            if reason := self._dispatch(self._parser.feed(data), call, now):
                return reason
            if rest := self._allowance.rest(now):
                self._rests_until = now + rest
                break
            if len(data) < READ_BYTES:  # there is hardly more, and it would wait for 10 ms only
                break
        return None

    def _dispatch(self, frames: Iterable[Frame], call: _Call, now: float) -> str | None:
        """Hand frames on; gives a reason when one of them ends the connection."""
        for frame in frames:
            self._allowance.spend(frame)
            match frame:
                case AudioFrame(rate, payload):
                    if len(payload) % 2 or not payload:
                        self._warn("AudioSocket audio that is no whole number of samples", length=len(payload))
                    if whole := payload[: len(payload) & ~1]:
                        call.receive(whole, rate, now)
                case DtmfFrame(digit):
                    call.press(digit)
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

    # --- what goes

    def _write(self, call: _Call, now: float) -> str | None:
        """Send the frame that is due; gives a reason where it was the last one. Raises trio.BrokenResourceError."""
        if self._unsent:
            if not self._resume(now):
                self.metrics.line_frames_skipped.inc()
                return f"Asterisk accepted no audio for {SEND_DEADLINE:g} s" if self._clogged(now) else None
            if self._hung_up:
                return HUNG_UP
            call.beat()
        if self._hanging_up:
            self._hung_up = True
            return HUNG_UP if self._send(HANGUP_FRAME, now) else None
        pcm = call.next_frame()
        if pcm is None:
            frame = call.silence
        elif len(pcm) == call.line.frame_bytes:
            frame = call.header + pcm
        else:
            frame = pack_audio(call.line.rate, pcm)
        if self._send(frame, now):
            call.beat()
        return None

    def _send(self, frame: bytes, now: float) -> bool:
        """Send a frame, when nothing is unsent; whether all of it has gone."""
        self._unsent = frame
        return self._resume(now)

    def _resume(self, now: float) -> bool:
        """Send what is unsent; whether all of it has gone. Raises trio.BrokenResourceError."""
        if self._unsent:
            self._unsent = self._unsent[self.wire.write(self._unsent) :]
        if not self._unsent:
            self._blocked_at = None
        elif self._blocked_at is None:
            self._blocked_at = now
        return not self._unsent

    def _clogged(self, now: float) -> bool:
        """Whether a frame was not accepted in time, after which nothing can be sent."""
        return self._blocked_at is not None and now - self._blocked_at >= SEND_DEADLINE - EXACT


def _silence(line: LineFormat) -> bytes:
    """A frame of silence as it is sent."""
    return pack_audio(line.rate, bytes(line.frame_bytes))
