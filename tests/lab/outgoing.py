"""What a caller of the lab still has to say and to press, given out frame by frame as packets."""

import random
from collections import deque

import attrs
import trio

from .delivery import ULAW, Codec
from .rtp import FRAME_SAMPLES, FRAME_SECONDS, RATE, TELEPHONE_EVENT, RtpPacket, digit_frames

FRAME_BYTES = 2 * FRAME_SAMPLES
SILENCE = bytes(FRAME_BYTES)
# A receiver tells two presses of one key apart by the pause between them.
PAUSE_FRAMES = 3
# More than this is a mistake in a test's script.
MOST_PENDING = 1000
MOST_PENDING_SECONDS = 1800


class CallEnded(Exception):
    """The call was over before all that was to be said or pressed was sent."""


@attrs.frozen
class Sent:
    """When a piece of audio went out, in seconds on the call's axis."""

    start: float
    end: float


@attrs.define(eq=False)
class Playing:
    """A piece of audio on its way out."""

    _pcm: bytes
    _position: int = 0
    _start: float = 0.0
    _over: trio.Event = attrs.field(factory=trio.Event)

    async def wait(self) -> Sent:
        """Returns when the last sample was sent. Raises CallEnded if the call was over before.

        Cancelling the wait does not stop the audio.
        """
        await self._over.wait()
        if self._position < len(self._pcm):
            left = (len(self._pcm) - self._position) / 2 / RATE
            raise CallEnded(f"the call ended {left:.2f} s before everything was said")
        return Sent(self._start, self._start + len(self._pcm) / 2 / RATE)


@attrs.define(eq=False)
class _KeyPress:
    frames: deque[list[bytes]]
    timestamp: int | None = None
    over: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Outgoing:
    """The queue of a call's audio and key presses; silence when there is nothing in it.

    `said` is all audio given out so far, 8 kHz slin. Keys go before audio, which then waits.
    """

    codec: Codec = ULAW
    said: bytearray = attrs.field(factory=bytearray)
    closed: bool = False
    _pending: deque[Playing] = attrs.field(factory=deque)
    _keys: deque[_KeyPress] = attrs.field(factory=deque)
    _ssrc: int = attrs.field(factory=lambda: random.getrandbits(32))
    _sequence: int = attrs.field(factory=lambda: random.getrandbits(15))

    def say(self, pcm: bytes) -> Playing:
        """Queue 8 kHz slin. Raises ValueError for none, half a sample, or more than any script has."""
        if not pcm or len(pcm) % 2:
            raise ValueError(f"expected whole 16-bit samples, got {len(pcm)} bytes")
        if len(pcm) > MOST_PENDING_SECONDS * RATE * 2 or len(self._pending) >= MOST_PENDING:
            raise ValueError(f"{len(pcm)} bytes after {len(self._pending)} other pieces are no script for a call")
        playing = Playing(pcm)
        if self.closed:
            playing._over.set()
        else:
            self._pending.append(playing)
        return playing

    async def press(self, digit: str) -> None:
        """Queue one key; returns when it is up. Raises ValueError; CallEnded if the call ends before."""
        key = _KeyPress(deque([*digit_frames(digit), *([] for _ in range(PAUSE_FRAMES))]))
        if not self.closed:
            self._keys.append(key)
            await key.over.wait()
        if key.frames:
            raise CallEnded(f"the call ended before key {digit!r} was up")

    def close(self) -> None:
        """The call is over: whoever waits is told so."""
        self.closed = True
        for playing in self._pending:
            playing._over.set()
        for key in self._keys:
            key.over.set()

    def next_frame(self, number: int) -> list[RtpPacket]:
        """The packets of 20 ms; `number` counts the frames from the call's start."""
        timestamp = number * FRAME_SAMPLES
        if self._keys:
            key = self._keys[0]
            first = key.timestamp is None
            key.timestamp = timestamp if key.timestamp is None else key.timestamp
            payloads = key.frames.popleft()
            if not key.frames:
                self._keys.popleft().over.set()
            if payloads:
                self.said += SILENCE
                return [self._packet(TELEPHONE_EVENT, key.timestamp, payload, marker=first) for payload in payloads]
            return [self._audio(SILENCE, timestamp)]
        return [self._audio(self._next_pcm(number * FRAME_SECONDS), timestamp)]

    def _next_pcm(self, at: float) -> bytes:
        if not self._pending:
            return SILENCE
        playing = self._pending[0]
        if playing._position == 0:
            playing._start = at
        piece = playing._pcm[playing._position : playing._position + FRAME_BYTES]
        playing._position += len(piece)
        if playing._position == len(playing._pcm):
            self._pending.popleft()._over.set()
        return piece.ljust(FRAME_BYTES, b"\0")

    def _audio(self, pcm: bytes, timestamp: int) -> RtpPacket:
        self.said += pcm
        return self._packet(self.codec.payload_type, timestamp, self.codec.encode(pcm), marker=timestamp == 0)

    def _packet(self, kind: int, timestamp: int, payload: bytes, *, marker: bool) -> RtpPacket:
        self._sequence = (self._sequence + 1) & 0xFFFF
        return RtpPacket(kind, self._sequence, timestamp, self._ssrc, payload, marker)
