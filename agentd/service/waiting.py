"""The callers whose calls are not set up yet: who is next, and who is better refused."""

import math
from bisect import insort
from collections.abc import Callable

import attrs
import trio

from agentd.ari.client import AriClient
from agentd.ari.hand_back import judge as judge_refusal
from agentd.conversation.commands import Result
from agentd.errors import AriError, MediaTimeout
from agentd.metrics import Metrics
from agentd.service.admittance import Cause, Refusal
from agentd.service.line_clocks import LineClocks
from agentd.service.pressure import Overload, Pressure, Turn, Window, judge
from agentd.service.stays import Stays

LOOK_INTERVAL = 0.1
"""Seconds until it is looked again how things stand, where callers wait."""
LAGGING = 0.5
"""Seconds without an answer of Asterisk's from which on it is its fault that a leg was not up in time."""
TOLD = {
    Cause.QUEUE: "too many callers at once: it would take too long until this call is set up",
    Cause.ASTERISK: "Asterisk does not answer, or fails, what calls are set up by",
    Cause.LINES: "this host is too busy: the lines of the running calls are late",
}


@attrs.define(eq=False)
class Place:
    """One caller's place in the line, and the set-up of their call once it is their turn. Leaving the block as which it
    is used ends whichever it is."""

    line: "WaitingLine"
    since: float
    ask: Callable[[], object]
    """Whether the agent is there and there is room, whatever Asterisk can bear: a Refusal where not."""
    begun: bool = attrs.field(default=False, init=False)
    """It is this caller's turn: the call is being served."""
    refused: Refusal | None = attrs.field(default=None, init=False)
    setting_up: bool = attrs.field(default=False, init=False)
    began: float = attrs.field(default=0.0, init=False)
    told: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __enter__(self) -> "Place":
        self.line.join(self)
        return self

    def __exit__(self, *_raised: object) -> None:
        self.line.leave(self)

    @property
    def waits(self) -> bool:
        """Nothing is decided."""
        return not self.begun and self.refused is None

    async def turn(self) -> None:
        """Wait until it is this caller's turn, or they are refused."""
        while self.waits:
            patience = LOOK_INTERVAL if self.line.is_first(self) else math.inf
            with trio.move_on_after(patience):
                await self.told.wait()
            self.told = trio.Event()
            self.line.settle()

    def on_leg(self, error: AriError | MediaTimeout | None) -> None:
        """The call has its media leg; or what it needs for one was refused, or did not come in time."""
        if self.setting_up and error is None:
            self.line.came_up(self)
        elif self.setting_up and error is not None:
            self.line.failed(self, error)


@attrs.define(eq=False)
class WaitingLine:
    """Callers in the order in which they came. Who waits is in no call yet, and counts for none."""

    client: AriClient
    stays: Stays
    metrics: Metrics
    window: Window = attrs.field(factory=Window, init=False)
    _clocks: LineClocks = attrs.field(init=False)
    _overload: Overload = attrs.field(factory=Overload, init=False)
    _waiting: list[Place] = attrs.field(factory=list, init=False)
    _first: Place | None = attrs.field(default=None, init=False)
    _under_way: int = attrs.field(default=0, init=False)
    _refused: int = attrs.field(default=0, init=False)
    """Callers who are refused and not handed back yet."""

    def __attrs_post_init__(self) -> None:
        self._clocks = LineClocks(self.metrics)
        self.client.hand_backs.overload = lambda: self._overload.lasts(trio.current_time())

    @property
    def length(self) -> int:
        """Callers who wait."""
        return len(self._waiting)

    def headless_refusal(self) -> Refusal | None:
        """Why a caller who came without ARI, and so cannot wait, is not let in."""
        return _refusal(Cause.LINES) if self._clocks.late(trio.current_time()) else None

    def is_first(self, place: Place) -> bool:
        """Whether nobody came earlier of those who wait."""
        return place is self._first

    def join(self, place: Place) -> None:
        """See Place."""
        insort(self._waiting, place, key=lambda waiting: waiting.since)
        self.settle()

    def leave(self, place: Place) -> None:
        """See Place."""
        if place.waits:
            self._waiting.remove(place)
        if place.refused is not None:
            self._refused -= 1
        if place.setting_up:
            self._end_set_up(place)
        if place.begun:
            self.stays.end_call()
        self.settle()

    def settle(self) -> None:
        """Decide what can be decided now of those who wait."""
        waiting, self._waiting = self._waiting, []
        now, pressure = trio.current_time(), None
        for place in waiting:
            pressure = pressure or self._pressure(now)
            asked = place.ask()
            decided = asked if isinstance(asked, Refusal) else judge(pressure, len(self._waiting), now - place.since)
            if decided is Turn.WAIT:
                self._waiting.append(place)
            else:
                self._decide(place, decided)
                pressure = None
        self.metrics.callers_waiting.set(len(self._waiting))
        first = next(iter(self._waiting), None)
        if first is not self._first:
            self._first = first
            if first is not None:
                first.told.set()  # from now on it is this one who looks how things stand

    def _decide(self, place: Place, decided: Refusal | Turn | Cause) -> None:
        if decided is Turn.BEGIN:
            place.begun = place.setting_up = True
            place.began = trio.current_time()
            self._under_way += 1
            self.stays.begin_call()
        else:
            self._refused += 1
            place.refused = decided if isinstance(decided, Refusal) else _refusal(Cause(decided))
            self._overload.refused(place.since)
        place.told.set()

    def came_up(self, place: Place) -> None:
        """See Place."""
        now = trio.current_time()
        self.metrics.call_set_up_seconds.observe(now - place.began)
        crowded = self.client.hand_backs.waiting > 0 and not self._overload.lasts(now)
        self.window.came_up(place.began, now, crowded=crowded)
        self._end_set_up(place)
        self.settle()

    def failed(self, place: Place, error: AriError | MediaTimeout) -> None:
        """See Place."""
        now = trio.current_time()
        if isinstance(error, MediaTimeout):
            if self.client.rest.unanswered_for(now) > LAGGING:
                self.window.timed_out(place.began, now)
        elif not judge_refusal(error).settles:
            self.window.failed(place.began, now)
        self._end_set_up(place)
        self.settle()

    def _end_set_up(self, place: Place) -> None:
        place.setting_up = False
        self._under_way -= 1

    def _pressure(self, now: float) -> Pressure:
        owed, overload = self.client.hand_backs, self._overload.lasts(now)
        return Pressure(
            under_way=self._under_way,
            window=self.window.places,
            set_up=self.window.set_up,
            paused=self.window.paused(now),
            hand_backs=max(owed.waiting, self._refused - owed.places),
            hand_backs_last=owed.lasting(max(owed.due, self._refused), told=not overload),
            overload=overload,
            unanswered=self.client.rest.unanswered_for(now),
            lines_late=self._clocks.late(now),
        )


def _refusal(cause: Cause) -> Refusal:
    return Refusal(Result.REFUSED_BUSY, TOLD[cause], cause)
