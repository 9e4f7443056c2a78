"""RTP packets (RFC 3550, section 5.1): bytes in and packets out, and back. Pure.

A datagram is anybody's until it has been read, so it is bounded, and what is no packet of a stream is refused by a
reason, which is also the label of a metric.
"""

import struct
from enum import StrEnum

import attrs

HEADER = struct.Struct(">BBHII")
VERSION = 2
LONGEST = 2048
"""Bytes of a datagram: 20 ms of 48 kHz slin, the most that Asterisk sends, are 1,932."""
RTCP_TYPES = range(192, 224)
"""The second byte of an RTCP packet (RFC 5761, section 4): no RTP stream has these payload types."""


class Refusal(StrEnum):
    """Why a datagram is no packet."""

    SHORT = "short"
    LONG = "long"
    VERSION = "version"
    RTCP = "rtcp"
    CSRC = "csrc"
    EXTENSION = "extension"
    PADDING = "padding"


@attrs.frozen
class Packet:
    """One packet. `sequence` has 16 bits, `timestamp` and `ssrc` have 32. `marker`: it begins a talkspurt."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes = attrs.field(repr=lambda payload: f"<{len(payload)} bytes>")
    marker: bool = False


def parse(datagram: bytes) -> Packet | Refusal:
    """The packet that a datagram holds, without its contributing sources, header extension and padding."""
    if len(datagram) < HEADER.size:
        return Refusal.SHORT
    if len(datagram) > LONGEST:
        return Refusal.LONG
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(datagram)
    if first >> 6 != VERSION:
        return Refusal.VERSION
    if second in RTCP_TYPES:
        return Refusal.RTCP
    start = HEADER.size + 4 * (first & 0x0F)
    if start > len(datagram):
        return Refusal.CSRC
    if first & 0x10:
        if start + 4 > len(datagram):
            return Refusal.EXTENSION
        start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
        if start > len(datagram):
            return Refusal.EXTENSION
    end = len(datagram)
    if first & 0x20:
        padding = datagram[-1]  # it counts itself
        if not padding or start + padding > end:
            return Refusal.PADDING
        end -= padding
    return Packet(second & 0x7F, sequence, timestamp, ssrc, datagram[start:end], bool(second & 0x80))


@attrs.define(eq=False)
class Outgoing:
    """One stream that is sent: its numbers go on from the random ones that it begins with (RFC 3550, section 5.1)."""

    payload_type: int
    ssrc: int
    sequence: int
    timestamp: int
    _begun: bool = attrs.field(default=False, init=False)

    def packet(self, payload: bytes, samples: int) -> bytes:
        """The next packet, at `samples` after the first moment of the stream. The first one has the marker."""
        marker = 0 if self._begun else 0x80
        self._begun = True
        timestamp = (self.timestamp + samples) & 0xFFFFFFFF
        header = HEADER.pack(VERSION << 6, marker | self.payload_type, self.sequence, timestamp, self.ssrc)
        self.sequence = (self.sequence + 1) & 0xFFFF
        return header + payload
