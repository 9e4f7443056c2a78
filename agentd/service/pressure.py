"""Whether one more call can be set up now, has to wait, or is better refused. Pure.

A call's set-up takes Asterisk seven requests or more, each with a deadline, and the caller hears nothing meanwhile.
Where more are begun than Asterisk answers, each of them takes longer, until none comes up in time. So a few are under
way at a time (`Window`, which learns how many), and the others wait without being answered: they hear what their
dialplan lets them hear. How long that will take follows from what the last ones took (Little's law): who would wait for
too long is refused at once, while the dialplan can still do something for them.

Callers who are refused go first (`Pressure.hand_backs`), so that a burst is over soon. Where more callers come than can
be served and do not cease to (`Overload`), set-ups have a share beside them (`beside`); else Asterisk would do nothing
but send callers away. Why so: docs/decisions/a-share-for-set-ups.md.
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
LASTING = 3.0
"""Seconds over which callers who are refused have come: from then on it is no burst, and does not pass by itself."""
LULL = 1.0
"""Seconds without one after which it is over."""
MOST_BESIDE = 8
"""Set-ups at a time beside hand-backs that wait, where those are soon done: two thirds of Asterisk's answers."""
LONGEST_BESIDE = 6.0
"""Seconds that the hand-backs may last, without the variable, until there is one set-up at a time beside them."""
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
    all that are owed take `hand_backs_last` seconds. `overload`: more callers come than can be served, and have done so
    for a while. `unanswered`: age in seconds of the oldest request without an answer. `lines_late`: the running calls'
    lines do not keep their time.
    """

    under_way: int = 0
    window: int = int(FIRST_WINDOW)
    set_up: float | None = None
    paused: bool = False
    hand_backs: int = 0
    hand_backs_last: float = 0.0
    overload: bool = False
    unanswered: float = 0.0
    lines_late: bool = False

    @property
    def strain(self) -> Cause | None:
        """What no set-up gets through at present."""
        if self.lines_late:
            return Cause.LINES
        return Cause.ASTERISK if self.paused or self.unanswered > STUCK else None

    @property
    def hand_backs_first(self) -> bool:
        """Whether no set-up is begun before those who wait to be handed back have their turn."""
        return self.hand_backs > 0 and not self.overload

    @property
    def room(self) -> int:
        """Set-ups that may be under way, while nothing strains Asterisk or this host."""
        if self.hand_backs > 0 and self.overload:
            return min(self.window, beside(self.hand_backs_last))
        return self.window

    def queue_lasts(self, in_front: int) -> float:
        """Seconds until a set-up begins with so many in front of it, hand-backs not included."""
        before = max(in_front + self.under_way + 1 - self.room, 0)
        return before * (self.set_up or 0.0) / self.room


def beside(hand_backs_last: float) -> int:
    """Set-ups under way at a time beside hand-backs that wait, in a lasting overload: the fewer the longer those take,
    and one at least, for Asterisk that does nothing but to send callers away serves nobody any more."""
    return max(1, round(MOST_BESIDE * (1.0 - hand_backs_last / LONGEST_BESIDE)))


def judge(pressure: Pressure, in_front: int, waited: float) -> Turn | Cause:
    """The turn of a caller who has waited for `waited` seconds, with `in_front` who came earlier; or why they are
    refused. Callers are judged in the order in which they came."""
    strain, queue = pressure.strain, pressure.queue_lasts(in_front)
    if strain is not None and waited >= STRAINED_PATIENCE:
        return strain
    if strain is None and queue > LONGEST_QUEUE:
        return Cause.QUEUE
    before = pressure.hand_backs_last if pressure.hand_backs_first else 0.0
    if waited + before + queue > LONGEST_WAIT:
        return Cause.QUEUE
    room = pressure.room if strain is None else 1
    held_up = pressure.lines_late or pressure.paused or pressure.hand_backs_first
    if in_front or held_up or pressure.under_way >= room:
        return Turn.WAIT
    return Turn.BEGIN


@attrs.define(eq=False)
class Overload:
    """Whether more callers come than can be served, for longer than a burst lasts: those who are refused tell, by when
    they came. Times are seconds on any one clock."""

    _first: float = float("inf")
    _latest: float = float("-inf")

    def refused(self, came: float) -> None:
        """A caller is refused, for whatever reason: that is two requests."""
        if came > self._latest + LULL:
            self._first = came
        self._latest = max(self._latest, came)

    def lasts(self, now: float) -> bool:
        """Whether such callers have come for LASTING seconds, without a lull, and still do."""
        return self._latest - self._first >= LASTING and now <= self._latest + LULL


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
