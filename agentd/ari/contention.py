"""Pure: two programs want one ARI application. The one that lost it leaves it alone for longer and longer.

Asterisk gives an application to whoever asks last, and tells the one before by ApplicationReplaced, once. It does not
tell whose an application is now, nor whether anybody's: one that callers are in stays when its program goes (Asterisk
22 res/res_stasis.c, `app_is_finished`). So it is taken back, but never in turn.
"""

import attrs

FIRST_PAUSE, LONGEST_PAUSE = 15.0, 600.0
GROWTH = 4.0
PEACE = 900.0
"""Seconds for which the application was ours, after which a loss counts as the first one."""


@attrs.define
class Contention:
    """The losses of one application. Times are seconds on any one clock."""

    losses: int = attrs.field(default=0, init=False)
    """Those without peace between them."""
    _held_since: float = attrs.field(default=float("-inf"), init=False)

    def held(self, now: float) -> None:
        """The application is ours from now on."""
        self._held_since = now

    def lost(self, now: float) -> float:
        """Another program has taken it; gives the seconds for which it is to be left alone, unless it is given up."""
        self.losses = 1 if now - self._held_since >= PEACE else self.losses + 1
        return float(min(FIRST_PAUSE * GROWTH ** min(self.losses - 1, 16), LONGEST_PAUSE))
