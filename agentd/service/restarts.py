"""When a part of the daemon that failed is started again. Pure: told the time."""

import attrs

FIRST_DELAY, LONGEST_DELAY = 0.2, 10.0
"""Seconds. The longest is shorter than any patience of the watchdog's: a part that feeds or beats is back in time."""
SETTLED_AFTER = 60.0
"""Seconds that a part has to be up until its next failure counts as a first one."""


@attrs.define
class RestartSchedule:
    """The pauses of one part: each twice as long as the one before, until it has been up for a while."""

    _delay: float = attrs.field(default=FIRST_DELAY, init=False)

    def pause(self, was_up: float) -> float:
        """Seconds until a part is started again that has just failed, after it was up for `was_up` seconds."""
        if was_up >= SETTLED_AFTER:
            self._delay = FIRST_DELAY
        pause = self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY)
        return pause
