"""Where a caller's sound falls so low that a pause may have begun. Pure: levels in, no clock.

Voice activity knows of a pause about 0.1 s after the last sound, because it must not take a breath for one. Whoever may
be wrong needs no more than the level: it is low if it is far below the loudest sound, or, on a noisy line, somewhat
below it and hardly above the quietest.
"""

from collections import deque

import attrs

from agentd.audio.level import FLOOR_DBFS, rms_dbfs

FAR_BELOW_DB, BELOW_DB, ABOVE_QUIETEST_DB = 28.0, 12.0, 4.0
FADES_DB_PER_SECOND = 3.0
"""A loud sound is forgotten: the next sentence may be spoken more softly."""
FRAMES = 3
"""Of them the mean is taken for the quietest, which else would be that of a moment."""


@attrs.define
class Lulls:
    """Hears one caller's slin at `rate` Hz, in frames of about 20 ms."""

    rate: int
    _loudest: float = attrs.field(default=FLOOR_DBFS, init=False)
    _quietest: float = attrs.field(default=0.0, init=False)
    _levels: deque[float] = attrs.field(factory=lambda: deque(maxlen=FRAMES), init=False)

    def quiet(self, frame: bytes) -> bool:
        """Whether there is nothing but the line's own noise in the next frame."""
        level = rms_dbfs(frame)
        self._levels.append(level)
        if len(self._levels) == FRAMES:
            self._quietest = min(self._quietest, sum(self._levels) / FRAMES)
        self._loudest = max(level, self._loudest - FADES_DB_PER_SECOND * len(frame) / 2 / self.rate)
        noise = min(self._quietest + ABOVE_QUIETEST_DB, self._loudest - BELOW_DB)
        return level <= max(noise, self._loudest - FAR_BELOW_DB)
