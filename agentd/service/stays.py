"""The callers who are here: each stay's outermost frame, which is the only place that catches everything, and their end
when the daemon's comes."""

from collections.abc import Awaitable, Callable, Iterator, Set
from contextlib import contextmanager

import attrs
import structlog
import trio

from agentd import budgets, deadlines
from agentd.ari.owed import Debt, HandBacks
from agentd.calls.call import Call
from agentd.calls.fields import begin_call_fields
from agentd.calls.log_lines import begin_call_lines
from agentd.conversation.commands import Result
from agentd.metrics import Metrics
from agentd.service.watchdog import ProgressWatch

log = structlog.get_logger("agentd.reception")

HAND_BACK_DEADLINE = deadlines.HAND_BACK.seconds
LEAVING_TIME = deadlines.LEAVING.seconds
BEHIND = deadlines.BEHIND.seconds
LINE_CLOCK = "line_clock"


@attrs.define(eq=False)
class Stays:
    """Every caller's stay, whichever way they came, be they in a call yet or not."""

    hand_backs: HandBacks
    metrics: Metrics
    watch: ProgressWatch
    draining: bool = attrs.field(default=False, init=False)
    _calls: set[Call] = attrs.field(factory=set, init=False)
    _scopes: dict[trio.CancelScope, str] = attrs.field(factory=dict, init=False)
    """One of every caller who is here, by which call."""
    _ending: bool = attrs.field(default=False, init=False)
    """The patience of `drain` is over."""
    _kept: Set[str] = attrs.field(default=frozenset(), init=False)
    """The calls that the next agentd goes on with."""
    _active: int = attrs.field(default=0, init=False)
    _idle: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def active(self) -> int:
        """Calls that are being served: neither callers who wait, nor those who are not let in."""
        return self._active

    @property
    def present(self) -> int:
        """Callers who are here, in a call or not."""
        return len(self._scopes)

    def begin_call(self) -> None:
        """A caller is let in: from now on they count as a call, until `end_call`."""
        self._active += 1
        self.metrics.calls_active.inc()

    def end_call(self) -> None:
        """See `begin_call`."""
        self._active -= 1
        self.metrics.calls_active.dec()
        if not self._active:
            self.watch.rest(LINE_CLOCK)

    async def contain(self, stay: Callable[..., Awaitable[None]], *args: object) -> None:
        """Whatever the end of a stay may raise, its hand-back for instance, ends that stay only."""
        try:
            await stay(*args)
        except* Exception:
            log.exception("the end of a call failed inside agentd")

    async def attend(
        self,
        call_id: str,
        channel: str,
        serve: Callable[[], Awaitable[Result]],
        hand_back: Callable[[Result], Awaitable[object]],
        owed: Callable[[], Debt | None],
        leave_here: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint,
    ) -> None:
        """The outermost frame of a call: whatever happens in it ends this call only, and is told once.

        A caller who is still there is handed back: after a failure, at the end of a drain, and where all of it is
        cancelled.

        `owed` tells what has become of the caller's hand-back, if there was one. `leave_here` is done for a caller who
        is left to the next agentd.
        """
        begin_call_fields(call_id=call_id, channel=channel)
        budgets.exceeded_counted_by(lambda budget: self.metrics.call_budget_exceeded.labels(budget=budget.name).inc())
        lines = begin_call_lines(lambda: budgets.count_exceeded(budgets.LOG_LINES))
        stay, served, result = trio.CancelScope(), False, Result.FAILED_INTERNAL
        self._scopes[stay] = call_id
        try:
            with stay:
                result = await serve()
                served = True
        except* Exception:
            lines.end()
            log.exception("the call failed inside agentd; its channel goes on in the dialplan")
        finally:
            if not served:
                result = Result.SHUTDOWN if stay.cancel_called else Result.FAILED_INTERNAL
                with trio.move_on_after(HAND_BACK_DEADLINE, shield=True):
                    await (leave_here() if call_id in self._kept else hand_back(result))
            del self._scopes[stay]
            if not served and call_id in self._kept:
                log.info("the call is left to the next agentd")
            else:
                self._conclude(str(result), owed(), lines.end())
            if not self._scopes:
                self._idle.set()

    def _conclude(self, result: str, owed: Debt | None, left_out: int) -> None:
        """Tell how the call ended; it is counted once its caller is really handed back."""
        figures = {"log_lines_left_out": left_out} if left_out else {}
        if owed is not None and owed.outcome is None:
            owed.on_settled = lambda ended_with: self.metrics.calls.labels(result=ended_with).inc()
            log.warning("call ended", result=owed.ended_with, hand_back="owed", **figures)
            return
        ended_with = result if owed is None else owed.ended_with
        self.metrics.calls.labels(result=ended_with).inc()
        log.info("call ended", result=ended_with, **figures)

    @contextmanager
    def running(self, call: Call) -> Iterator[None]:
        """A call that `drain` knows of; one that has just begun when the patience is over is told at once."""
        self._calls.add(call)
        if self._ending:
            call.shut_down()
        try:
            yield
        finally:
            self._calls.remove(call)

    def line_moves(self, moving: bool) -> None:
        """A call's line has carried a frame, or its leg has ended."""
        if moving:
            self.watch.beat(LINE_CLOCK, trio.current_time())
        else:
            self.watch.rest(LINE_CLOCK)

    async def drain(self, patience: float, announcement_time: float) -> None:
        """Take no new calls; give running ones `patience` seconds, then announce the end to those left.

        Whoever is still there after `announcement_time` more is handed back, whatever is still to be said or answered.

        Takes LEAVING_TIME more at the most, in which hand-backs that are owed are seen through, too. Callers who are
        left even then are logged.
        """
        self.draining = True
        with trio.move_on_after(patience):
            await self._until_idle()
        self._ending = True
        for call in tuple(self._calls):
            call.shut_down()
        with trio.move_on_after(announcement_time):
            await self._until_idle()
        for stay in tuple(self._scopes):
            stay.cancel(reason="agentd is being stopped")
        with trio.move_on_after(LEAVING_TIME):
            await self._until_idle()
            await self.hand_backs.nothing_owed()
        if left := {*self._scopes.values(), *self.hand_backs.channels}:
            log.error("callers could not be handed back before the end", calls=len(left))

    async def leave_behind(self, kept: Set[str]) -> None:
        """End all calls at once: the daemon is started again. Callers whose calls are among `kept`, by their ids, stay
        in the application for the next agentd to go on with; others are handed back, as far as there is time."""
        self.draining = self._ending = True
        self._kept = kept
        for stay in tuple(self._scopes):
            stay.cancel(reason="agentd is being started again")
        with trio.move_on_after(BEHIND):
            await self._until_idle()
            await self.hand_backs.nothing_owed()
        if left := {*self._scopes.values(), *self.hand_backs.channels} - kept:
            log.warning("callers are left to the next agentd to be handed back", calls=len(left))

    async def _until_idle(self) -> None:
        while self._scopes:
            self._idle = trio.Event()
            await self._idle.wait()
