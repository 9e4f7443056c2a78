"""The clock of the lines that agentd clocks: a frame every 20 ms, from the first moment to the last, without bursts.

To wake a task up costs as much as all that is done for a frame. So lines share wake-ups: each has its place in one of
`SLOTS` slots, which lie evenly over the 20 ms, and all lines of a slot are served one after the other. What comes from
a line's peer is looked at in its own slot, and once more half a frame later, in the slot opposite: so it waits for
10 ms at the most. Where there are few lines, they share one slot and its opposite.

There is no task of the clock's own: one of the lines' tasks leads, and when its line ends another one does. What a line
raises is raised in its own task, and no other line notices.
"""

from collections.abc import Callable
from contextvars import Context, copy_context
from math import floor
from typing import Any, Generic, TypeVar

import attrs
import trio

from agentd.errors import Failure
from agentd.media.leg import FRAME_SECONDS
from agentd.metrics import Metrics

SLOTS = 4
"""An even number: each has one opposite."""
SLOT_SECONDS = FRAME_SECONDS / SLOTS
EXACT = 1e-6
"""Parts of a slot by which sums of times may differ."""
GROUP = 12
"""Lines of a slot from which on others are begun."""
FAILURES = (Exception, SystemExit)
LATE_FRAMES = 2
"""A clock that wakes up later than this many frames goes on from now: catching up further would be a burst."""

T = TypeVar("T")


@attrs.define(eq=False)
class _Place(Generic[T]):
    """A line's."""

    tick: Callable[[int, float], T | None]
    between: Callable[[float], T | None]
    context: Context
    """Of the line's own task: whatever it logs tells whose line it is."""
    number: int = 0
    """Of its next frame."""
    given: T | None = None
    raised: Failure | None = None
    news: trio.Event = attrs.field(factory=trio.Event)
    """Set for its task to look: it is over, or has to lead."""

    @property
    def over(self) -> bool:
        return self.given is not None or self.raised is not None


@attrs.define(eq=False)
class LineClock:
    """One a daemon. It is absolute: what one frame is late, the next one is not."""

    metrics: Metrics
    _slots: list[list[_Place[Any]]] = attrs.field(factory=lambda: [[] for _ in range(SLOTS)], init=False)
    _lines: int = attrs.field(default=0, init=False)
    _start: float = attrs.field(default=0.0, init=False)
    _turn: int = attrs.field(default=0, init=False)
    """The next one; turn n is the turn of slot n modulo SLOTS."""
    _leader: _Place[Any] | None = attrs.field(default=None, init=False)

    async def keep(
        self, tick: Callable[[int, float], T | None], between: Callable[[float], T | None] = lambda _now: None
    ) -> T:
        """Call `tick(number, now)` at once and then every 20 ms, and `between(now)` half-way, until one of them gives
        something: that is returned. What it raises is raised here. `now` is trio's time, `number` counts the frames
        from 0 on; those that are left out have numbers too.

        The second tick comes sooner than 20 ms after the first, where the clock serves other lines. It may be
        cancelled, between two ticks.
        """
        await trio.lowlevel.checkpoint()
        place = _Place(tick, between, copy_context())
        slot = self._join(place)
        try:
            self._serve(place, trio.current_time())
            while not place.over:
                if self._leader is None:
                    await self._lead(place)
                else:
                    place.news = trio.Event()
                    await place.news.wait()
        finally:
            slot.remove(place)
            self._lines -= 1
            self._hand_over()
        if (raised := place.raised) is not None:
            try:
                raise raised
            finally:
                del raised
                place.raised = None  # else the error would lead back to itself: only the collector frees such a circle
        return place.given  # type: ignore[return-value]  # it is over

    def _join(self, place: _Place[Any]) -> list[_Place[Any]]:
        """Give it a slot whose turn comes within a frame: of those in use the one that has the fewest lines, and of
        several the one whose turn comes last."""
        now = trio.current_time()
        if not self._lines:
            self._start, self._turn = now, 1
        within = floor((now + FRAME_SECONDS - self._due) / SLOT_SECONDS + EXACT)
        turns = range(self._turn + min(max(within, 0), SLOTS - 1), self._turn - 1, -1)
        slot = self._of(min(turns, key=self._fitness))
        slot.append(place)
        self._lines += 1
        return slot

    def _fitness(self, turn: int) -> tuple[int, int, int]:
        lines = len(self._of(turn))
        return lines // GROUP, turn % (SLOTS // 2), lines

    async def _lead(self, place: _Place[Any]) -> None:
        """Keep the time for all lines until this one is over."""
        self._leader = place
        try:
            while not place.over:
                while not (self._of(self._turn) or self._opposite(self._turn)):
                    self._turn += 1
                await trio.sleep_until(self._due)
                self._take_turn()
        finally:
            self._leader = None

    def _hand_over(self) -> None:
        """See to it that somebody leads."""
        if self._leader is None:
            for slot in self._slots:
                for place in slot:
                    place.news.set()
                    return

    @property
    def _due(self) -> float:
        return self._start + self._turn * SLOT_SECONDS

    def _of(self, turn: int) -> list[_Place[Any]]:
        """The lines whose turn it is."""
        return self._slots[turn % SLOTS]

    def _opposite(self, turn: int) -> list[_Place[Any]]:
        return self._slots[(turn + SLOTS // 2) % SLOTS]

    def _take_turn(self) -> None:
        late = trio.current_time() - self._due
        if late > LATE_FRAMES * FRAME_SECONDS:
            self._skip(floor(late / FRAME_SECONDS))
        due, observe, current_time = self._due, self.metrics.line_lateness_seconds.observe, trio.current_time
        for place in self._of(self._turn):
            now = current_time()
            observe(now - due if now > due else 0.0)
            self._serve(place, now)
        for place in self._opposite(self._turn):
            self._ask(place, place.between, current_time())
        self._turn += 1

    def _skip(self, missed: int) -> None:
        self._turn += missed * SLOTS
        self.metrics.line_frames_skipped.inc(missed * self._lines)
        for slot in self._slots:
            for place in slot:
                place.number += missed

    def _serve(self, place: _Place[Any], now: float) -> None:
        number, place.number = place.number, place.number + 1
        self._ask(place, place.tick, number, now)

    def _ask(self, place: _Place[T], ask: Callable[..., T | None], *arguments: float) -> None:
        """Have a line do something; whatever comes of it is its own task's."""
        if place.over:
            return
        try:
            place.given = place.context.run(ask, *arguments)
        except FAILURES as error:  # it is raised again, in its line's task
            place.raised = error
            place.news.set()
        else:
            if place.given is not None:
                place.news.set()
