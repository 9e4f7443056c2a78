"""RTP of one telephone call (RFC 3550), digits (RFC 4733), and a call's audio on its time axis. Pure."""

import itertools
import struct
from collections.abc import Sequence
from typing import Self

import attrs
import numpy as np

from agentd.audio.g711 import ulaw_to_slin

RATE = 8000
FRAME_SECONDS = 0.02
FRAME_SAMPLES = 160
PCMU = 0
TELEPHONE_EVENT = 101
DIGITS = "0123456789*#ABCD"

# Lateness up to this is jitter, which a telephone's buffer takes away.
LATE_SECONDS = 0.06
# Packets further ahead than this belong to a new timeline.
AHEAD_SECONDS = 2.0
# A stalled sender catches up within this many packets; one that gets further ahead than this sends bursts.
CATCH_UP_PACKETS = 50
CATCH_UP_SECONDS = 0.25


class RtpSyntaxError(ValueError):
    """A datagram is no RTP packet."""


@attrs.frozen
class RtpPacket:
    """One packet; `timestamp` counts samples at 8 kHz."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    @classmethod
    def parse(cls, datagram: bytes) -> Self:
        """Raises RtpSyntaxError if `datagram` is shorter than its header says or not of version 2."""
        if len(datagram) < 12 or datagram[0] >> 6 != 2:
            raise RtpSyntaxError(f"expected RTP version 2 with 12 bytes or more, got {datagram[:12].hex()!r}")
        start = 12 + 4 * (datagram[0] & 0x0F)
        if datagram[0] & 0x10 and len(datagram) >= start + 4:
            start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
        end = len(datagram) - (datagram[-1] if datagram[0] & 0x20 else 0)
        if start > end:
            raise RtpSyntaxError(f"a header of {start} bytes and padding do not fit in {len(datagram)} bytes")
        sequence, timestamp, ssrc = struct.unpack(">HII", datagram[2:12])
        kind = datagram[1]
        return cls(kind & 0x7F, sequence, timestamp, ssrc, datagram[start:end], bool(kind & 0x80))

    def render(self) -> bytes:
        kind = self.payload_type | (0x80 if self.marker else 0)
        fields = (0x80, kind, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc)
        return struct.pack(">BBHII", *fields) + self.payload


def digit_frames(digit: str) -> list[list[bytes]]:
    """RFC 4733 payloads of a key press of 100 ms, frame by frame: five updates, then the end three times.

    Raises ValueError for what is no key of a telephone.
    """
    if len(digit) != 1 or digit not in DIGITS:
        raise ValueError(f"expected one of {DIGITS}, got {digit!r}")
    event = DIGITS.index(digit)
    updates = [[struct.pack(">BBH", event, 10, FRAME_SAMPLES * (n + 1))] for n in range(5)]
    return [*updates, [struct.pack(">BBH", event, 0x80 | 10, FRAME_SAMPLES * 6)] * 3]


@attrs.frozen
class Arrival:
    """A packet of audio and when it came, in seconds on the call's axis."""

    at: float
    packet: RtpPacket


def lay_out(arrivals: Sequence[Arrival], samples: int) -> bytes:
    """What was heard, as 8 kHz slin of `samples` samples, silent where nothing was sent.

    Within a timeline a packet's place follows its RTP timestamp, so neither jitter nor a stall that is caught
    up cuts the audio. A timeline (a new SSRC, a jump, a pause of the sender's clock) begins where its
    first packet arrived, or would have without a stall.
    """
    heard = np.zeros(samples, "<i2")
    previous: RtpPacket | None = None
    place = 0.0
    for number, arrival in enumerate(arrivals):
        packet = arrival.packet
        known = previous is not None and previous.ssrc == packet.ssrc
        if known and previous is not None:
            place += _samples_between(previous, packet) / RATE
        if not known or not arrival.at - LATE_SECONDS <= place <= arrival.at + AHEAD_SECONDS:
            due = arrival.at - _caught_up(arrivals[number : number + CATCH_UP_PACKETS])
            if not known or not due - LATE_SECONDS <= place <= due + AHEAD_SECONDS:
                place = due
        previous = packet
        audio = np.frombuffer(ulaw_to_slin(packet.payload), "<i2")
        start = round(place * RATE)
        first, last = max(start, 0), min(start + len(audio), samples)
        if first < last:
            heard[first:last] = audio[first - start : last - start]
    return heard.tobytes()


def _samples_between(before: RtpPacket, after: RtpPacket) -> int:
    return (after.timestamp - before.timestamp + 0x80000000) % 0x100000000 - 0x80000000


def _caught_up(arrivals: Sequence[Arrival]) -> float:
    """How late the first packet was, in seconds, seen from those that followed it; 0 if they are a burst."""
    first = arrivals[0]
    leads = [
        _samples_between(first.packet, one.packet) / RATE - (one.at - first.at)
        for one in arrivals
        if one.packet.ssrc == first.packet.ssrc
    ]
    most = max(leads)
    return most if most <= CATCH_UP_SECONDS else 0.0


@attrs.frozen
class LineStats:
    """How evenly the line was served, as the caller's network card saw it."""

    packets: int
    lost: int
    """Packets missing by sequence number."""
    late: int
    """Packets that came too late for a telephone's buffer: see `late_packets`."""
    median_gap_ms: float
    p99_gap_ms: float
    max_gap_ms: float
    """The longest time between two packets; 0 with fewer than two."""
    max_send_lag_ms: float
    """How late this caller's own clock was at worst: large values spoil a measurement."""


def late_packets(arrivals: Sequence[Arrival], buffer: float = LATE_SECONDS) -> int:
    """How many packets came after their turn in a buffer of so many seconds, which fills anew after each of those, and
    where the timeline is another one."""
    late, turn = 0, 0.0
    previous: RtpPacket | None = None
    for arrival in arrivals:
        packet = arrival.packet
        if previous is not None and previous.ssrc == packet.ssrc:
            turn += _samples_between(previous, packet) / RATE
        if previous is None or previous.ssrc != packet.ssrc or turn > arrival.at + AHEAD_SECONDS:
            turn = arrival.at + buffer
        elif arrival.at > turn:
            late, turn = late + 1, arrival.at + buffer
        previous = packet
    return late


def line_stats(arrivals: Sequence[Arrival], max_send_lag: float) -> LineStats:
    """Statistics of `arrivals`, in the order of their coming; `max_send_lag` in seconds."""
    pairs = list(itertools.pairwise(arrivals))
    gaps = np.array([after.at - before.at for before, after in pairs]) * 1000
    steps = [
        (after.packet.sequence - before.packet.sequence) & 0xFFFF
        for before, after in pairs
        if before.packet.ssrc == after.packet.ssrc
    ]
    # A step beyond a second's packets is a new numbering or an overtaken packet, not a loss.
    lost = sum(step - 1 for step in steps if 1 < step <= 50)
    median, p99, most = np.percentile(gaps, [50, 99, 100]) if len(gaps) else (0.0, 0.0, 0.0)
    return LineStats(
        packets=len(arrivals),
        lost=lost,
        late=late_packets(arrivals),
        median_gap_ms=float(median),
        p99_gap_ms=float(p99),
        max_gap_ms=float(most),
        max_send_lag_ms=max_send_lag * 1000,
    )
