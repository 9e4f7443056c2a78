"""The AudioSocket wire format: pure, bytes in and frames out.

A frame is a kind (1 byte), the payload's length (2 bytes, big-endian) and the payload. Audio is signed 16-bit
little-endian mono, whatever codec was asked for. Source: Asterisk 22 res/res_audiosocket.c and
include/asterisk/res_audiosocket.h; which of them have kinds 03 and 11 to 18 is in
agentd.asterisk_releases.
"""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from uuid import UUID

import attrs

from agentd.errors import MediaProtocolError

HEADER = struct.Struct(">BH")
MAX_PAYLOAD = 0xFFFF


class Kind(IntEnum):
    """Frame kinds of Asterisk 22."""

    HANGUP = 0x00
    UUID = 0x01
    DTMF = 0x03
    SLIN = 0x10
    SLIN12 = 0x11
    SLIN16 = 0x12
    SLIN24 = 0x13
    SLIN32 = 0x14
    SLIN44 = 0x15
    SLIN48 = 0x16
    SLIN96 = 0x17
    SLIN192 = 0x18
    ERROR = 0xFF


RATES: Mapping[Kind, int] = {
    Kind.SLIN: 8000,
    Kind.SLIN12: 12000,
    Kind.SLIN16: 16000,
    Kind.SLIN24: 24000,
    Kind.SLIN32: 32000,
    Kind.SLIN44: 44100,
    Kind.SLIN48: 48000,
    Kind.SLIN96: 96000,
    Kind.SLIN192: 192000,
}
_RATE_OF_KIND: Mapping[int, int] = {int(kind): rate for kind, rate in RATES.items()}
KIND_OF_RATE: Mapping[int, Kind] = {rate: kind for kind, rate in RATES.items()}

HANGUP_FRAME = HEADER.pack(Kind.HANGUP, 0)


@attrs.frozen
class CallId:
    """The first frame: which call this connection carries."""

    uuid: UUID


@attrs.frozen
class AudioFrame:
    """Caller audio: slin at `rate` Hz, usually 20 ms."""

    rate: int
    payload: bytes = attrs.field(repr=lambda payload: f"<{len(payload)} bytes>")


@attrs.frozen
class DtmfFrame:
    """One DTMF digit."""

    digit: str


@attrs.frozen
class HangupFrame:
    """The peer ends the call."""


@attrs.frozen
class ErrorFrame:
    """The peer reports an error (Asterisk itself never sends this kind); `code` is None without a payload."""

    code: int | None


@attrs.frozen
class UnknownFrame:
    """A kind that no known Asterisk sends; skipped by its length, so the stream stays in step."""

    kind: int
    length: int


Frame = CallId | AudioFrame | DtmfFrame | HangupFrame | ErrorFrame | UnknownFrame


def pack_audio(rate: int, pcm: bytes) -> bytes:
    """One audio frame for Asterisk.

    `pcm` is slin at `rate` Hz, a whole number of samples, at least one: a length of 0 kills the call
    (asterisk res_audiosocket.c treats it as an error). Raises ValueError for anything else.
    """
    if rate not in KIND_OF_RATE:
        raise ValueError(f"AudioSocket carries {sorted(KIND_OF_RATE)} Hz, not {rate}")
    if not pcm or len(pcm) % 2 or len(pcm) > MAX_PAYLOAD:
        raise ValueError(f"an audio frame holds 2 to {MAX_PAYLOAD - 1} bytes of 16-bit samples, not {len(pcm)}")
    return HEADER.pack(KIND_OF_RATE[rate], len(pcm)) + pcm


def parse_frame(kind: int, payload: bytes) -> Frame:
    """Make a frame of its parts. Raises MediaProtocolError for a payload that the kind does not allow."""
    match kind:
        case Kind.UUID:
            if len(payload) != 16:
                raise MediaProtocolError(f"a UUID frame holds 16 bytes, this one {len(payload)}")
            return CallId(UUID(bytes=payload))
        case Kind.DTMF:
            if len(payload) != 1 or not 0x20 < payload[0] < 0x7F:
                raise MediaProtocolError(f"a DTMF frame holds one ASCII character, this one {payload[:8]!r}")
            return DtmfFrame(payload.decode("ascii"))
        case Kind.HANGUP:
            return HangupFrame()
        case Kind.ERROR:
            return ErrorFrame(payload[0] if payload else None)
        case _ if kind in _RATE_OF_KIND:
            return AudioFrame(_RATE_OF_KIND[kind], payload)
        case _:
            return UnknownFrame(kind, len(payload))


@attrs.define
class FrameParser:
    """Cuts a byte stream into frames, however the bytes are split.

    Bounded: it never holds more than one incomplete frame (65,538 bytes) beyond what one `feed` brought.
    `max_payload` refuses longer frames: 20 ms of 192 kHz audio are 7,680 bytes, so a peer that announces much
    more is not Asterisk, or is out of step.
    """

    max_payload: int = 16384
    _buffer: bytes = attrs.field(default=b"", init=False)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes; gives the frames that are now complete.

        Raises MediaProtocolError when the peer breaks the protocol; the stream is useless after that.
        """
        self._buffer += data
        while len(buffer := self._buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(buffer)
            if length > self.max_payload:
                raise MediaProtocolError(
                    f"frame of kind {kind:#04x} announces {length} bytes; at most {self.max_payload} are expected"
                )
            end = HEADER.size + length
            if len(buffer) < end:
                return
            payload, self._buffer = buffer[HEADER.size : end], buffer[end:]
            rate = _RATE_OF_KIND.get(kind)
            yield parse_frame(kind, payload) if rate is None else AudioFrame(rate, payload)

    @property
    def mid_frame(self) -> bool:
        """True while bytes of an incomplete frame are held: an EOF now is a cut, not an end."""
        return bool(self._buffer)


@attrs.define
class Allowance:
    """How much one connection may bring before its reader takes a rest: many times what a line brings.

    A line is 50 frames a second, each of 20 ms. After a stall (Asterisk's, the network's, ours) what has waited comes
    at once. What floods is held up by TCP, and nobody else's call is.
    """

    per_second: float = 500.0
    at_once: float = 3000.0
    _left: float = attrs.field(init=False)
    _counted_at: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.at_once

    def spend(self, frame: Frame) -> None:
        """A frame was taken: it counts by the audio in it, at least as one."""
        frames = len(frame.payload) / frame.rate * 25 if isinstance(frame, AudioFrame) else 0.0  # 50 a second, 2 bytes
        self._left -= frames if frames > 1.0 else 1.0

    def rest(self, now: float) -> float:
        """Seconds until the next read."""
        if self._counted_at is not None:
            self._left = min(self.at_once, self._left + (now - self._counted_at) * self.per_second)
        self._counted_at = now
        return max(0.0, -self._left / self.per_second)
