"""The last of what the caller said, for a session that takes another's place; and an ear of agentd's own. Pure.

A session that died may have swallowed words: its successor is given the audio again. And a session that says nothing at
all can be told from a caller who says nothing only by listening: loudness is enough for that.
"""

import math
from collections import deque

import attrs

from agentd.audio.level import rms_dbfs

KEPT_SECONDS = 15.0
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


@attrs.frozen
class Piece:
    """Caller audio that arrived at monotonic second `at`: slin at the line's rate."""

    pcm: bytes = attrs.field(repr=False)
    at: float


@attrs.define(eq=False)
class CallerAudio:
    """One caller's; `rate` in Hz. `hear` every frame."""

    rate: int
    spoke_from: float | None = attrs.field(default=None, init=False)
    """When the last stretch of speech began; None before there was one."""
    spoke_until: float | None = attrs.field(default=None, init=False)
    """When it ended; None while it lasts."""
    _pieces: deque[Piece] = attrs.field(factory=deque, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)
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
        while self._seconds > KEPT_SECONDS:
            self._seconds -= self._length(self._pieces.popleft().pcm)
        self._listen(pcm, at)

    def since(self, moment: float) -> list[Piece]:
        """The audio that arrived from second `moment` on, as far as it is kept."""
        return [piece for piece in self._pieces if piece.at >= moment]

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
