"""Time passed is audio fed: what a leg brings, and the silence that stands in for what does not come. Pure: told the
time, no clock.

A session keeps its time by the audio that it hears, so it is fed as much as time passes. A telephone that suppresses
silence sends nothing while nobody speaks, and a mobile link sends nothing for a while and then all of it at once; which
of the two it is, is not known before it comes. So silence stands in after a while, and what comes later all the same is
handed on whole, in the place of the silence that is due next: a session that is ahead of the time is fed none. A line
that has been late once thus has what receivers of RTP call a jitter buffer, as deep as it was late.
"""

import math

import attrs

PATIENCE = 0.3
"""Seconds that audio may be behind the time before silence stands in."""
BEHIND = 0.1
"""Seconds that silence, once it stands in, stays behind the time."""
AHEAD = 0.5
"""Seconds that a session may be ahead of the time for good; from there on the caller's pauses are shortened."""
MOST_AHEAD = 3.0
"""Seconds beyond which audio is dropped, whatever is in it: only a peer that floods comes here, or a line that stood
still for longer than anybody waits."""
EXACT = 1e-6
"""Seconds by which sums of frames may differ."""


@attrs.define
class TimePassed:
    """One leg's, which is up since second `since`. All times are in seconds."""

    since: float
    fed: float = attrs.field(default=0.0, init=False)
    _in_gap: bool = attrs.field(default=False, init=False)

    def ahead(self, now: float) -> float:
        """How much more was fed than time has passed; negative: less."""
        return self.fed - (now - self.since)

    def takes(self, seconds: float, now: float, *, quiet: bool) -> bool:
        """Audio has come; whether it is to be fed. `quiet`: nobody speaks in it."""
        self._in_gap = False
        ahead = self.ahead(now)
        if ahead >= (AHEAD if quiet else MOST_AHEAD):
            return False
        self.fed += seconds
        return True

    def missing(self, frame: float, now: float) -> int:
        """How many frames of silence of `frame` seconds have to stand in now; they count as fed."""
        behind = -self.ahead(now)
        if behind < (BEHIND + frame if self._in_gap else PATIENCE) - EXACT:
            return 0
        self._in_gap = True
        frames = math.floor((behind - BEHIND) / frame + EXACT)
        self.fed += frames * frame
        return frames
