"""The last of what the caller said, for a session that takes another's place; and an ear of agentd's own. Pure.

A session that died may have swallowed words: its successor is given the audio again. And a session that says nothing at
all can be told from a caller who says nothing only by listening: loudness is enough for that.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Final

import attrs

from agentd.audio.g711 import alaw_to_slin, slin_to_alaw, slin_to_ulaw, ulaw_to_slin
from agentd.audio.level import rms_dbfs

KEPT_SECONDS = 15.0
EXACT = 1e-9
BLOCK_SECONDS = 1.0
"""What is older is kept as small as may be, so many seconds at a time."""
LEAD_SECONDS = 0.5
"""Seconds from before an onset that are given again."""
QUIETEST_SPEECH_DBFS = -45.0
ABOVE_NOISE_DB = 12.0
NOISE_RISE_DB = 0.02
"""How fast the noise floor follows upwards, in dB a frame: 1 dB a second; downwards it follows at once."""
SPEECH_SECONDS = 0.4
"""Loud audio within one stretch that is speech and no click."""
PAUSE_SECONDS = 0.6
"""Silence that ends a stretch."""
LAWS: Final = ((slin_to_ulaw, ulaw_to_slin), (slin_to_alaw, alaw_to_slin))


@attrs.frozen
class Piece:
    """Caller audio that arrived at monotonic second `at`: slin at the line's rate."""

    pcm: bytes = attrs.field(repr=False)
    at: float


@attrs.frozen
class Block:
    """Pieces, one after the other, kept as small as may be without changing a sample: silence takes nothing, and what
    G.711 has carried takes half."""

    ends: "array[int]" = attrs.field(repr=False)
    """Of each piece: the bytes of slin up to its end."""
    ats: "array[float]" = attrs.field(repr=False)
    seconds: float
    _kept: bytes = attrs.field(repr=False)
    _law: Callable[[bytes], bytes] | None
    """What makes slin of what is kept; None: it is slin."""

    @staticmethod
    def of(pieces: Sequence[Piece], seconds: float) -> "Block":
        """So many seconds of audio."""
        ends = array("l", accumulate(len(piece.pcm) for piece in pieces))
        ats = array("d", (piece.at for piece in pieces))
        pcm = b"".join(piece.pcm for piece in pieces)
        if not pcm.strip(b"\0"):
            return Block(ends, ats, seconds, b"", None)
        for encode, decode in LAWS:
            if len(pcm) % 2 == 0 and decode(kept := encode(pcm)) == pcm:
                return Block(ends, ats, seconds, kept, decode)
        return Block(ends, ats, seconds, pcm, None)

    def pieces(self) -> Iterator[Piece]:
        """As they were."""
        pcm = self._kept if self._law is None else self._law(self._kept)
        pcm = pcm or bytes(self.ends[-1])
        for begin, end, at in zip((0, *self.ends), self.ends, self.ats, strict=False):
            yield Piece(pcm[begin:end], at)


@attrs.define(eq=False)
class CallerAudio:
    """One caller's; `rate` in Hz. `hear` every frame."""

    rate: int
    spoke_from: float | None = attrs.field(default=None, init=False)
    """When the last stretch of speech began; None before there was one."""
    spoke_until: float | None = attrs.field(default=None, init=False)
    """When it ended; None while it lasts."""
    _blocks: deque[Block] = attrs.field(factory=deque, init=False)
    _pieces: list[Piece] = attrs.field(factory=list, init=False)
    """What came after the last block."""
    _seconds: float = attrs.field(default=0.0, init=False)
    """Of them."""
    _blocks_seconds: float = attrs.field(default=0.0, init=False)
    _noise_dbfs: float = attrs.field(default=-60.0, init=False)
    _began: float = attrs.field(default=0.0, init=False)
    _loud: float = attrs.field(default=0.0, init=False)
    _last_loud: float = attrs.field(default=0.0, init=False)

    @property
    def heard_at(self) -> float:
        """When speech was last heard, in whatever stretch; -math.inf: never yet."""
        if self.spoke_from is None:
            return -math.inf
        return self._last_loud if self.spoke_until is None else self.spoke_until

    def hear(self, pcm: bytes, at: float) -> None:
        """Take caller audio that arrived at second `at`."""
        if not pcm:
            return
        self._pieces.append(Piece(pcm, at))
        self._seconds += self._length(pcm)
        if self._seconds >= BLOCK_SECONDS:
            self._put_away()
        self._listen(pcm, at)

    def since(self, moment: float) -> list[Piece]:
        """The audio that arrived from second `moment` on, as far as it is kept."""
        kept = deque(chain(*(block.pieces() for block in self._blocks), self._pieces))
        over = self._blocks_seconds + self._seconds - KEPT_SECONDS
        while over > EXACT:
            over -= self._length(kept.popleft().pcm)
        return [piece for piece in kept if piece.at >= moment]

    def _put_away(self) -> None:
        self._blocks.append(Block.of(self._pieces, self._seconds))
        self._blocks_seconds += self._seconds
        self._pieces, self._seconds = [], 0.0
        while self._blocks_seconds - self._blocks[0].seconds >= KEPT_SECONDS:
            self._blocks_seconds -= self._blocks.popleft().seconds

    def _listen(self, pcm: bytes, at: float) -> None:
        level = rms_dbfs(pcm)
        loud = level > max(QUIETEST_SPEECH_DBFS, self._noise_dbfs + ABOVE_NOISE_DB)
        self._noise_dbfs = min(max(level, -80.0), self._noise_dbfs + NOISE_RISE_DB)
        if loud:
            if not self._loud:
                self._began = at
            self._loud += self._length(pcm)
            self._last_loud = at
            if self._loud >= SPEECH_SECONDS and self.spoke_from != self._began:
                self.spoke_from, self.spoke_until = self._began, None
        elif self._loud and at - self._last_loud >= PAUSE_SECONDS:
            if self.spoke_from == self._began:
                self.spoke_until = self._last_loud
            self._loud = 0.0

    def _length(self, pcm: bytes) -> float:
        return len(pcm) / 2 / self.rate
