"""A real SIP and RTP caller on Trio: places calls, speaks, listens, and keeps both on one time axis."""

import contextlib
import itertools
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import attrs
import trio

from .delivery import COMFORT_NOISE, EVEN, ULAW, Codec, Delivery, Manner
from .outgoing import FRAME_BYTES, CallEnded, Outgoing, Playing, Sent
from .rtp import (
    DIGITS,
    FRAME_SECONDS,
    PCMU,
    RATE,
    TELEPHONE_EVENT,
    Arrival,
    LineStats,
    RtpPacket,
    RtpSyntaxError,
    lay_out,
    line_stats,
)
from .signalling import CallRefused, Signalling, ringing
from .sip_message import Dialog, media_address, offer
from .speech import write_wav

__all__ = ["Call", "CallEnded", "CallRefused", "Line", "Playing", "Sent", "SipCaller", "TransferRefused"]

ANSWER_SECONDS = 15.0
HANGUP_SECONDS = 3.0
# Linux's socket(7): the kernel notes when a packet came, so a busy loop here spoils no measurement.
SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")


class TransferRefused(Exception):
    """The far side answered a REFER with 3xx to 6xx, or not at all (408)."""


class Call:
    """A call that was answered. Audio is 8 kHz slin (16-bit, little-endian), 20 ms a packet.

    Second 0 of the axis is the arrival of the 200 OK, `t0` on time.monotonic(); sample n of `heard` and of
    `said` belongs to t0 + n / 8000, so delays are read off by comparing the two.
    """

    def __init__(
        self,
        rtp: trio.socket.SocketType,
        far: tuple[str, int],
        signalling: Signalling,
        codec: Codec,
        manner: Manner,
    ) -> None:
        self.t0 = time.monotonic()
        self._trio_t0 = trio.current_time()
        self._rtp = rtp
        self._far = far
        self._signalling = signalling
        self._codec = codec
        self._outgoing = Outgoing(codec)
        self._delivery = Delivery(manner)
        self._arrivals: list[Arrival] = []
        self._max_send_lag = 0.0
        self._versions = 1
        """Of the session description."""
        self.ended = trio.Event()
        self.ended_by: Literal["local", "remote"] | None = None
        self.ended_at: float | None = None
        """Seconds on the axis."""
        self.digits_heard: list[tuple[float, str]] = []
        """Keys that the far side pressed, each with its second on the axis."""

    @property
    def now(self) -> float:
        """Seconds on the axis."""
        return time.monotonic() - self.t0

    async def play(self, pcm: bytes) -> Sent:
        """Say `pcm` after what is still to be said; returns when its last sample was sent, with the times.

        Raises CallEnded if the call ends before. Cancelling the wait does not stop the audio.
        """
        return await self.play_nowait(pcm).wait()

    def play_nowait(self, pcm: bytes) -> Playing:
        """Say `pcm` after what is still to be said. Raises ValueError for none, half samples, or too many."""
        return self._outgoing.say(pcm)

    async def send_dtmf(self, digits: str) -> None:
        """Press the keys one after the other, 100 ms each (RFC 4733); returns when the last one is up.

        Raises ValueError for what is no key, CallEnded if the call ends before.
        """
        for digit in digits:
            await self._outgoing.press(digit)

    async def hangup(self) -> None:
        """Hang up, unless the call has ended; returns when the far side knows, or has not answered in 2 s."""
        if not self.ended.is_set():
            self._end("local")
            await self._signalling.hang_up()

    async def transfer(self, uri: str, replacing: "Call | None" = None) -> None:
        """Have the far side connect its own end of this call with `uri` (a blind transfer), or, attended, with the far
        end of the call `replacing`, which is with `uri` too. The far side then hangs up what is over.

        Raises TransferRefused.
        """
        if replacing is not None:
            uri = f"{uri}?Replaces={quote(replacing._signalling.replaces, safe='')}"
        status = await self._signalling.refer(uri)
        if status >= 300:
            raise TransferRefused(f"the transfer to {uri} was refused: {status}")

    async def hold(self, held: bool = True) -> None:
        """Put the call on hold, or take it back: audio is sent all the same. Raises CallRefused."""
        self._versions += 1
        host, port = self._rtp.getsockname()
        sdp = offer(host, port, self._versions, "sendonly" if held else "sendrecv", (self._codec.offered,))
        if (status := await self._signalling.reinvite(sdp)) != 200:
            raise CallRefused("the re-INVITE", status, "")

    @property
    def heard(self) -> bytes:
        """What came from the line from second 0 to now, or to the call's end."""
        return lay_out(self._arrivals, self._samples())

    @property
    def said(self) -> bytes:
        """What was sent, of the same length as `heard`; keys are silence."""
        length = 2 * self._samples()
        return bytes(self._outgoing.said[:length]).ljust(length, b"\0")

    def save(self, heard_path: Path, said_path: Path) -> None:
        """Write both recordings as 8 kHz wav files."""
        write_wav(heard_path, self.heard)
        write_wav(said_path, self.said)

    def line_stats(self, start: float = 0.0, end: float | None = None) -> LineStats:
        """How evenly packets came between two seconds of the axis (default: in all of the call)."""
        last = self.now if end is None else end
        return line_stats([one for one in self._arrivals if start <= one.at <= last], self._max_send_lag)

    def _samples(self) -> int:
        return int((self.now if self.ended_at is None else self.ended_at) * RATE)

    def _end(self, by: Literal["local", "remote"]) -> None:
        if not self.ended.is_set():
            self.ended_by = by
            self.ended_at = self.now
            self.ended.set()
            self._outgoing.close()

    async def _serve_sip(self, sdp: str, listening: trio.CancelScope) -> None:
        # Hanging up needs the answers of the far side, also when the call is being cancelled.
        with listening:
            await self._signalling.serve(lambda: self._end("remote"), sdp)

    async def _send_rtp(self) -> None:
        for number in itertools.count():
            due = number * FRAME_SECONDS
            await trio.sleep_until(self._trio_t0 + due)
            if self.ended.is_set():
                return
            self._max_send_lag = max(self._max_send_lag, self.now - due)
            packets = self._outgoing.next_frame(number)
            for packet in self._delivery.feed(packets, bytes(self._outgoing.said[-FRAME_BYTES:]), due):
                # The far side's port is closed a moment before its BYE arrives.
                with contextlib.suppress(ConnectionRefusedError):
                    await self._rtp.sendto(packet.render(), self._far)

    async def _receive_rtp(self) -> None:
        while not self.ended.is_set():
            with contextlib.suppress(ConnectionRefusedError, RtpSyntaxError):
                datagram, notes, _, _ = await self._rtp.recvmsg(2048, 64)
                at = _arrival(notes) - self.t0
                packet = RtpPacket.parse(datagram)
                if packet.payload_type == PCMU:
                    self._arrivals.append(Arrival(at, packet))
                elif packet.payload_type == TELEPHONE_EVENT and packet.marker and packet.payload[0] < len(DIGITS):
                    self.digits_heard.append((at, DIGITS[packet.payload[0]]))


def _arrival(notes: list[tuple[int, int, bytes]]) -> float:
    """When a packet came, on time.monotonic(), by the kernel's note."""
    for level, kind, value in notes:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            age = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
            return time.monotonic() - float(age) / 1e9
    # Only packets that were under way when the option was set carry no note.
    return time.monotonic()


@attrs.frozen
class SipCaller:
    """A telephone without registration: u-law at 8 kHz, digits as RFC 4733, on `host`, ports of its own."""

    host: str = "127.0.0.1"
    answer_seconds: float = ANSWER_SECONDS
    codec: Codec = ULAW
    manner: Manner = EVEN

    @asynccontextmanager
    async def call(self, uri: str, *, caller_id: str = "caller", name: str = "") -> AsyncIterator[Call]:
        """Call `uri` (`sip:7000@127.0.0.1:5060`) as `caller_id`, shown as `name`; the block runs once up.

        From then on a packet is sent every 20 ms until the call ends. Leaving the block hangs up, also when
        cancelled. What the block raises comes out in an exception group.

        Raises CallRefused if the call is not answered with 200 within `answer_seconds` (then with status
        408), ValueError for a URI that does not read `sip:USER@IPV4:PORT`.
        """
        target = re.fullmatch(r"sip:[^@\s]+@([\d.]+):(\d+)", uri)
        if target is None:
            raise ValueError(f"expected sip:USER@IPV4:PORT, got {uri!r}")
        async with _sockets(self.host) as (sip, rtp):
            sdp = self._offer(rtp)
            dialog = Dialog(uri, caller_id, name, sip.getsockname(), sdp)
            signalling = Signalling(sip, (target[1], int(target[2])), dialog)
            answer = await signalling.invite(self.answer_seconds)
            call = Call(rtp, media_address(answer.body), signalling, self.codec, self.manner)
            async with _conversing(call, signalling, sdp):
                yield call

    @asynccontextmanager
    async def line(self, *, answers: bool = True) -> AsyncIterator["Line"]:
        """Be there to be called, once at most, until the block is left; `answers`: at once."""
        async with _sockets(self.host) as (sip, rtp), trio.open_nursery() as nursery:
            line = Line(self, sip, rtp)
            nursery.start_soon(line._serve, answers)
            try:
                yield line
            finally:
                nursery.cancel_scope.cancel()

    def _offer(self, rtp: trio.socket.SocketType) -> str:
        codecs = (self.codec.offered, COMFORT_NOISE) if self.manner.comfort_noise else (self.codec.offered,)
        return offer(self.host, rtp.getsockname()[1], codecs=codecs)


@attrs.define(eq=False)
class Line:
    """A telephone that waits for a call; made by `SipCaller.line`. What is waited for raises trio.TooSlowError where
    it does not come."""

    _phone: SipCaller
    _sip: trio.socket.SocketType
    _rtp: trio.socket.SocketType
    _ringing: trio.Event = attrs.field(factory=trio.Event, init=False)
    _let_be: trio.Event = attrs.field(factory=trio.Event, init=False)
    _up: trio.Event = attrs.field(factory=trio.Event, init=False)
    _call: Call | None = attrs.field(default=None, init=False)

    @property
    def port(self) -> int:
        """Where it is called: `PJSIP/ENDPOINT/sip:USER@127.0.0.1:PORT`."""
        return int(self._sip.getsockname()[1])

    async def rings(self) -> None:
        """Wait until somebody calls."""
        with trio.fail_after(self._phone.answer_seconds):
            await self._ringing.wait()

    async def let_be(self) -> None:
        """Wait until who called has given up, or is answered elsewhere."""
        with trio.fail_after(self._phone.answer_seconds):
            await self._let_be.wait()

    async def call(self) -> Call:
        """The call, once it is answered."""
        with trio.fail_after(self._phone.answer_seconds):
            await self._up.wait()
        assert self._call is not None
        return self._call

    async def _serve(self, answers: bool) -> None:
        call = await ringing(self._sip)
        self._ringing.set()
        if not answers:
            await call.cancelled()
            self._let_be.set()
            return
        sdp = self._phone._offer(self._rtp)
        signalling = await call.answer(sdp)
        self._call = Call(self._rtp, call.media, signalling, self._phone.codec, self._phone.manner)
        async with _conversing(self._call, signalling, sdp):
            self._up.set()
            await self._call.ended.wait()


@asynccontextmanager
async def _sockets(host: str) -> AsyncIterator[tuple[trio.socket.SocketType, trio.socket.SocketType]]:
    """A telephone's two, for SIP and for RTP."""
    with (
        trio.socket.socket(type=socket.SOCK_DGRAM) as sip,
        trio.socket.socket(type=socket.SOCK_DGRAM) as rtp,
    ):
        rtp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        await sip.bind((host, 0))
        await rtp.bind((host, 0))
        yield sip, rtp


@asynccontextmanager
async def _conversing(call: Call, signalling: Signalling, sdp: str) -> AsyncIterator[None]:
    """A call that is up, until the block is left: then it is hung up."""
    listening = trio.CancelScope(shield=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call._serve_sip, sdp, listening)
        nursery.start_soon(call._send_rtp)
        nursery.start_soon(call._receive_rtp)
        try:
            yield
        finally:
            with trio.move_on_after(HANGUP_SECONDS, shield=True):
                await call.hangup()
            listening.cancel()
            nursery.cancel_scope.cancel()
