"""The clock of a line that agentd clocks: a frame every 20 ms, from the first moment to the last, without bursts."""

from math import floor

import attrs
import trio

from agentd.media.leg import FRAME_SECONDS
from agentd.metrics import Metrics

LATE_FRAMES = 2
"""A writer that wakes up later than this many frames goes on from now: catching up further would be a burst."""


@attrs.define(eq=False)
class LineClock:
    """Begins when it is made. It is absolute: what one frame is late, the next one is not."""

    metrics: Metrics
    _start: float = attrs.field(factory=trio.current_time, init=False)
    _next: int = attrs.field(default=0, init=False)

    async def frame(self) -> int:
        """Wait until the next frame is due; gives its number, from 0 on. Those that are left out have numbers too.

        It is a checkpoint in any case, and may be cancelled.
        """
        due = self._start + self._next * FRAME_SECONDS
        await trio.sleep_until(due)
        late = trio.current_time() - due
        self.metrics.line_lateness_seconds.observe(max(late, 0.0))
        if late > LATE_FRAMES * FRAME_SECONDS:
            missed = floor(late / FRAME_SECONDS)
            self.metrics.line_frames_skipped.inc(missed)
            self._next += missed
        number, self._next = self._next, self._next + 1
        return number
