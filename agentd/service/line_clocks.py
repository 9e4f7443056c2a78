"""Whether the running calls' lines keep their time, as their frames' lateness tells."""

import attrs

from agentd.metrics import Metrics

LATE = 0.02
"""Seconds: a frame that is later than that has missed its slot."""
LATE_SHARE = 0.05
"""Of the frames of one look; from then on callers hear it."""
LOOK = 1.0
"""Seconds between two looks."""
FEWEST = 25
"""Frames that tell something: half a second of one line."""


@attrs.define(eq=False)
class LineClocks:
    """Looks at all lines' frames every now and then, when it is asked."""

    metrics: Metrics
    _looked: float = attrs.field(default=float("-inf"), init=False)
    _frames: int = attrs.field(default=0, init=False)
    _on_time: int = attrs.field(default=0, init=False)
    _late: bool = attrs.field(default=False, init=False)

    def late(self, now: float) -> bool:
        """Whether too many frames were late of those written since the look before; `now` in seconds."""
        if now - self._looked < LOOK:
            return self._late
        fresh = now - self._looked < 3 * LOOK  # else it is long ago that anybody asked, and tells nothing of now
        self._looked = now
        lateness = self.metrics.line_lateness_seconds
        frames, on_time = lateness.count, lateness.up_to(LATE)
        written, kept = frames - self._frames, on_time - self._on_time
        self._frames, self._on_time = frames, on_time
        self._late = fresh and written >= FEWEST and written - kept > LATE_SHARE * written
        return self._late
