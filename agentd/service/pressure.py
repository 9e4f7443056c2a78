"""Whether one more call can be set up now, has to wait, or is better refused. Pure.

A call's set-up takes Asterisk seven requests or more, each with a deadline, and the caller hears nothing meanwhile.
Where more are begun than Asterisk answers, each of them takes longer, until none comes up in time. So a few are under
way at a time (`Window`, which learns how many), and the others wait without being answered: they hear what their
dialplan lets them hear. How long that will take follows from what the last ones took (Little's law): who would wait for
too long is refused at once, while the dialplan can still do something for them.
"""

from enum import StrEnum

import attrs

from agentd.ari.hand_back import smoothed
from agentd.service.admittance import Cause

FIRST_WINDOW, WIDEST_WINDOW = 4.0, 16.0
"""Set-ups at a time: before anything is known of this Asterisk, and at most."""
QUICK, SLOW = 1.0, 2.5
"""Seconds from the first request to the leg: up to which there may be more at a time, and from which on fewer."""
STUCK = 1.5
"""Seconds without an answer to a request from which on Asterisk is taken for stuck: one set-up at a time tries it."""
STRAINED_PATIENCE = 4.0
"""Seconds that a caller waits for an Asterisk that is stuck, or a host that does not keep its lines' time."""
LONGEST_QUEUE = 8.0
"""Seconds that the set-ups in front of a caller may take."""
LONGEST_WAIT = 15.0
"""Seconds that a caller waits in all, hand-backs in front included: three rings of a telephone."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0
"""Seconds without a set-up after one that Asterisk has failed; doubled with each that fails next."""


class Turn(StrEnum):
    """What a caller who would be let in is told now."""

    BEGIN = "begin"
    WAIT = "wait"


@attrs.frozen
class Pressure:
    """How things stand at one moment.

    `under_way` set-ups of the `window` that may be, each of which takes `set_up` seconds (None: nobody knows yet);
    `paused`: the last ones failed, and none is begun for a moment. `hand_backs` wait for their turn at Asterisk, and
    all that are owed take `hand_backs_last` seconds. `unanswered`: age in seconds of the oldest request without an
    answer. `lines_late`: the running calls' lines do not keep their time.
    """

    under_way: int = 0
    window: int = int(FIRST_WINDOW)
    set_up: float | None = None
    paused: bool = False
    hand_backs: int = 0
    hand_backs_last: float = 0.0
    unanswered: float = 0.0
    lines_late: bool = False

    @property
    def strain(self) -> Cause | None:
        """What no set-up gets through at present."""
        if self.lines_late:
            return Cause.LINES
        return Cause.ASTERISK if self.paused or self.unanswered > STUCK else None

    def queue_lasts(self, in_front: int) -> float:
        """Seconds until a set-up begins with so many in front of it, hand-backs not included."""
        before = max(in_front + self.under_way + 1 - self.window, 0)
        return before * (self.set_up or 0.0) / self.window


def judge(pressure: Pressure, in_front: int, waited: float) -> Turn | Cause:
    """The turn of a caller who has waited for `waited` seconds, with `in_front` who came earlier; or why they are
    refused. Callers are judged in the order in which they came."""
    strain, queue = pressure.strain, pressure.queue_lasts(in_front)
    if strain is not None and waited >= STRAINED_PATIENCE:
        return strain
    if strain is None and queue > LONGEST_QUEUE:
        return Cause.QUEUE
    if waited + pressure.hand_backs_last + queue > LONGEST_WAIT:
        return Cause.QUEUE
    window = pressure.window if strain is None else 1
    held_up = pressure.lines_late or pressure.paused or pressure.hand_backs > 0
    if in_front or held_up or pressure.under_way >= window:
        return Turn.WAIT
    return Turn.BEGIN


@attrs.define(eq=False)
class Window:
    """How many set-ups may be under way: one more for each round that was quick, half of them after one that was slow
    or failed. Times are seconds on any one clock."""

    size: float = FIRST_WINDOW
    set_up: float | None = None
    """What a set-up has taken lately. It rises at once, for what is learnt late is learnt by callers who have waited in
    vain, and falls by and by."""
    _failures: int = 0
    """In a row."""
    _closed_until: float = 0.0
    _narrowed: float = float("-inf")

    @property
    def places(self) -> int:
        """Set-ups at a time: one at least, which finds out how things are."""
        return int(self.size)

    def paused(self, now: float) -> bool:
        """Whether no set-up is to begin for a moment."""
        return now < self._closed_until

    def came_up(self, began: float, now: float, crowded: bool) -> None:
        """A set-up is complete. `crowded`: beside hand-backs, whose requests go first, so that it tells nothing of how
        long one takes otherwise."""
        took = now - began
        self._failures = 0
        if crowded:
            return
        self.set_up = max(smoothed(self.set_up, took), took)
        if took > SLOW:
            self._narrow(began, now)
        elif took <= QUICK:
            self.size = min(self.size + 1.0 / self.size, WIDEST_WINDOW)

    def timed_out(self, began: float, now: float) -> None:
        """A set-up did not come up in its time, while Asterisk took its time to answer."""
        self._narrow(began, now)

    def failed(self, began: float, now: float) -> None:
        """Asterisk did not answer, or could not do it now."""
        self._narrow(began, now)
        self._closed_until = now + min(FIRST_PAUSE * 2.0**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 16)

    def _narrow(self, began: float, now: float) -> None:
        """Once for all that were under way at the same time."""
        if began > self._narrowed:
            self.size, self._narrowed = max(self.size / 2.0, 1.0), now
