"""When the caller was last heard, by loudness: for vendors that tell what the caller does, but not when, or not
reliably. Pure."""

import math

import attrs

from agentd.audio.level import rms_dbfs

SPEECH_DBFS = -45.0
"""Louder sounds may be speech. (What it is, the vendor decides; this tells only when.)"""
GAP = 0.4
"""Seconds of quiet within one stretch of speech."""
RECENT = 2.0
"""Seconds for which a sound can be the one that the vendor speaks of."""


@attrs.define
class CallerSound:
    """One caller's; times are seconds of the monotonic clock that `hear` is given."""

    loud_until: float = attrs.field(default=-math.inf, init=False)
    """When it was loud last."""
    _loud_from: float = attrs.field(default=-math.inf, init=False)

    def hear(self, pcm: bytes, at: float) -> None:
        """Take caller audio (slin) that arrived at `at`."""
        if rms_dbfs(pcm) > SPEECH_DBFS:
            if at - self.loud_until > GAP:
                self._loud_from = at
            self.loud_until = at

    def onset(self, now: float) -> float:
        """When the speech began of which is known now that it is one."""
        return self._loud_from if now - self._loud_from <= RECENT else now

    def last(self, now: float, longest: float) -> float:
        """When the speech ended of which is known now that it is over; at most `longest` seconds ago."""
        return self.loud_until if now - self.loud_until <= longest else now
