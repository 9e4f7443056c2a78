"""A stream of RTP packets as it arrives, made into audio in order: reordered, without duplicates, and with what is
lost concealed. Pure: told the time, no clock.

What comes in order goes on at once. Only behind a gap does anything wait, until the missing packet has come or `hold`
has passed: so a line without loss has no delay, whatever its jitter. That is right for a listener who needs every word
and no even flow; that a session is fed as time passes is agentd.media.passed's business, which is why no more is
concealed here than it waits for.

Sequence numbers tell what is missing (RFC 3550, appendix A.1). Timestamps only tell how long it was, and where they
contradict (Asterisk predicts those that it sends, and jumps with a marker when they are off by 80 ms) they do not
count.
"""

from collections import Counter, deque
from enum import StrEnum

import attrs

from agentd.audio.concealment import concealment, faded_in
from agentd.audio.formats import FRAME_MS
from agentd.media.passed import PATIENCE
from agentd.rtp.packet import Packet

FIRST_HOLD = 0.04
HOLD_STEP = 0.02
LONGEST_HOLD = 0.16
"""Seconds: with the longest concealment less than a session waits before silence stands in."""
PROVEN_LOSSES = 10
"""Gaps in a row that nothing came for too late, after which the hold becomes shorter by a step."""
MOST_WAITING = 50
"""Packets behind a gap, after which it is waited for no longer: a second of audio."""
MOST_CONCEALED = 0.2
"""Seconds of one gap. Beyond them the line stood still, and the time passed is made up for elsewhere."""
MOST_DROPPED = 3000
MOST_MISORDERED = 100
"""Packets ahead and behind, within which a number belongs to the stream (RFC 3550, appendix A.1)."""
MOST_APART = 10
"""Packets between the first two of a new stream."""


class Fate(StrEnum):
    """What became of a packet that was not simply handed on; also the label of a metric."""

    LOST = "lost"
    LATE = "late"
    DUPLICATE = "duplicate"
    RESTARTED = "restarted"
    """It began a new stream: another SSRC, or numbers far away."""


@attrs.frozen
class _Piece:
    packet: Packet
    pcm: bytes
    at: float


def _difference(one: int, other: int, bits: int) -> int:
    """How far `one` is ahead of `other`, of numbers that wrap around."""
    half = 1 << bits - 1
    return (one - other + half) % (1 << bits) - half


@attrs.define(eq=False)
class Arrivals:
    """One leg's incoming stream at `rate` Hz. `fates` counts; whoever reads it clears it.

    What it holds is bounded: `MOST_WAITING` packets, and the numbers of as many that are missing.
    """

    rate: int
    fates: Counter[Fate] = attrs.field(factory=Counter, init=False)
    hold: float = attrs.field(default=FIRST_HOLD, init=False)
    """Seconds that a missing packet is waited for; grows with each that came too late."""
    _ssrc: int | None = attrs.field(default=None, init=False)
    _next: int = attrs.field(default=0, init=False)
    """The sequence number that is due."""
    _timestamp: int = attrs.field(default=0, init=False)
    """And its timestamp, if nothing is missing before it."""
    _waiting: dict[int, _Piece] = attrs.field(factory=dict, init=False)
    _given_up: deque[int] = attrs.field(factory=lambda: deque(maxlen=MOST_WAITING), init=False)
    _proven: int = attrs.field(default=0, init=False)
    _newcomer: _Piece | None = attrs.field(default=None, init=False)
    """The first packet of what may be a new stream: the second one tells."""
    _last: bytes = attrs.field(default=b"", init=False)
    """What was handed on last; empty before the first, and where the sound was brought to silence since."""
    _last_at: float = attrs.field(default=float("-inf"), init=False)
    _silenced: bool = attrs.field(default=False, init=False)
    """What comes next has to be faded in."""

    def push(self, packet: Packet, pcm: bytes, now: float) -> list[bytes]:
        """Take a packet with its audio (slin, whole samples; none where it carries something else), which came at
        second `now`; gives the slin that can be handed on, in order."""
        piece = _Piece(packet, pcm, now)
        ahead = _difference(packet.sequence, self._next, 16)
        if self._ssrc is None:
            self._follow(piece)
        elif packet.ssrc != self._ssrc or not -MOST_MISORDERED <= ahead <= MOST_DROPPED:
            return self._of_another_stream(piece, now)
        elif ahead < 0:
            self._too_late(packet.sequence)
            return []
        self._newcomer = None
        if packet.sequence in self._waiting:
            self.fates[Fate.DUPLICATE] += 1
            return []
        self._waiting[packet.sequence] = piece
        return [*self._in_order(now), *self.due(now)]

    def due(self, now: float) -> list[bytes]:
        """The slin that is due at second `now` because what is missing before it was waited for long enough."""
        handed: list[bytes] = []
        while self._waiting and (len(self._waiting) > MOST_WAITING or now >= self._given_up_at):
            handed += self._give_up_gap(now)
            handed += self._in_order(now)
        return handed

    @property
    def _given_up_at(self) -> float:
        came = min(piece.at for piece in self._waiting.values())
        before_silence = self._last_at + PATIENCE - 2 * FRAME_MS / 1000
        return came + self.hold if before_silence < came else min(came + self.hold, before_silence)

    def _in_order(self, now: float) -> list[bytes]:
        handed = []
        while (piece := self._waiting.pop(self._next, None)) is not None:
            self._next = (self._next + 1) & 0xFFFF
            self._timestamp = (piece.packet.timestamp + len(piece.pcm) // 2) & 0xFFFFFFFF
            if piece.pcm:
                handed.append(faded_in(piece.pcm, self.rate) if self._silenced else piece.pcm)
                self._last, self._last_at, self._silenced = piece.pcm, now, False
        return handed

    def _give_up_gap(self, now: float) -> list[bytes]:
        """Give up what is missing before the nearest packet that waits, and conceal it."""
        nearest = min(self._waiting, key=lambda sequence: _difference(sequence, self._next, 16))
        missing = _difference(nearest, self._next, 16)
        self.fates[Fate.LOST] += missing
        self._given_up.extend(
            (self._next + number) & 0xFFFF for number in range(max(0, missing - MOST_WAITING), missing)
        )
        self._next = nearest
        self._proven += 1
        if self._proven >= PROVEN_LOSSES:
            self.hold, self._proven = max(self.hold - HOLD_STEP, FIRST_HOLD), 0
        first = self._waiting[nearest].packet
        longest = round(MOST_CONCEALED * self.rate)
        samples = missing * (len(self._last) // 2 or self.rate * FRAME_MS // 1000)
        told = _difference(first.timestamp, self._timestamp, 32)
        if not first.marker and 0 < told <= longest:
            samples = told
        return self._silence(min(samples, longest), now)

    def _silence(self, samples: int, now: float) -> list[bytes]:
        """What is heard for so long instead of what is lost. Nothing where silence stands in by now."""
        last, self._last, self._silenced = self._last, b"", True
        if not samples or now - self._last_at >= PATIENCE:
            return []
        return [concealment(last[-2 * samples :]).ljust(2 * samples, b"\0")]

    def _too_late(self, sequence: int) -> None:
        if sequence not in self._given_up:
            self.fates[Fate.DUPLICATE] += 1
            return
        self._given_up.remove(sequence)
        self.fates[Fate.LATE] += 1
        self.hold, self._proven = min(self.hold + HOLD_STEP, LONGEST_HOLD), 0

    def _of_another_stream(self, piece: _Piece, now: float) -> list[bytes]:
        """A packet that does not belong to the stream of now: two of them in a row are the next stream."""
        first, self._newcomer = self._newcomer, piece
        if first is None or first.packet.ssrc != piece.packet.ssrc:
            return []
        apart = _difference(piece.packet.sequence, first.packet.sequence, 16)
        if not apart or abs(apart) > MOST_APART:
            return []
        self.fates[Fate.RESTARTED] += 1
        handed = []
        while self._waiting:
            handed += [*self._give_up_gap(now), *self._in_order(now)]
        handed += self._silence(len(self._last) // 2, now)
        self._follow(first if apart > 0 else piece)
        self._waiting = {each.packet.sequence: each for each in (first, piece)}
        self._newcomer = None
        return [*handed, *self._in_order(now)]

    def _follow(self, piece: _Piece) -> None:
        """From now on this is the stream."""
        self._ssrc, self._next, self._timestamp = piece.packet.ssrc, piece.packet.sequence, piece.packet.timestamp
        self._given_up.clear()
