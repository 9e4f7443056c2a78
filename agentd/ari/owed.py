"""Hand-backs that are owed: a caller who is to go on in the dialplan stays agentd's until Asterisk says otherwise."""

import math
from collections.abc import Callable
from enum import Enum

import attrs
import structlog
import trio

from agentd.ari.hand_back import Refusal, goes_untold, judge, pause_after, refuses_destination, smoothed
from agentd.ari.rest import AriRest
from agentd.ari.turns import Turns
from agentd.ari.whereabouts import Origin
from agentd.conversation.commands import Destination, Result
from agentd.errors import AriError, AriRejected
from agentd.metrics import Metrics

log = structlog.get_logger("agentd.owed")

AT_ONCE, AT_ONCE_OVERLOADED = 8, 4
"""Hand-backs whose requests are under way at one time; Asterisk's answers are shared by them and all others."""


class Outcome(Enum):
    """What has become of a hand-back."""

    WENT_ON = "the channel goes on in the dialplan"
    GONE = "there was nobody to hand back"


@attrs.define(eq=False)
class Debt:
    """One channel's hand-back, from the moment at which it is decided to the one at which nothing is left to do."""

    channel: str
    """The channel of now: another one may take its place."""
    result: str
    """The AGENTD_RESULT to go on with; FAILED_TRANSFER once the destination was refused."""
    destination: Destination | None
    due: float
    since: float
    """When its caller came."""
    way_back: Destination | None = None
    """Where it came from, where neither Asterisk nor an event tells."""
    owed_at: float = attrs.field(factory=trio.current_time, init=False)
    tries: int = attrs.field(default=0, init=False)
    outcome: Outcome | None = attrs.field(default=None, init=False)
    settled: trio.Event = attrs.field(factory=trio.Event, init=False)
    on_settled: Callable[[str], None] = attrs.field(default=lambda _result: None, init=False)
    """Told the result once it is settled. Must not block."""
    at_work: bool = attrs.field(default=False, init=False)
    begun: bool = attrs.field(default=False, init=False)
    """Its turn has come: requests of it are under way."""
    in_doubt: bool = attrs.field(default=False, init=False)
    """A request was not answered: it may have been carried out."""
    refusal: Refusal | None = attrs.field(default=None, init=False)
    """Why the last try failed."""

    @property
    def ended_with(self) -> str:
        """The result that the call has, as far as it is known."""
        transferred = self.destination is not None and self.outcome is Outcome.GONE
        return Result.CALLER_HUNG_UP if transferred else self.result


@attrs.define(eq=False)
class HandBacks:
    """The hand-backs of this agentd, oldest first, at most one a channel: there are never more than channels.

    `run` is a task of the daemon's: no call's end loses one. A channel that comes back into the application by another
    StasisStart is another stay: what was owed of the one before is void.
    """

    rest: AriRest
    metrics: Metrics
    origin: Callable[[str], Origin | None] = lambda _channel: None
    """The way back of a channel that took another's place; None where Asterisk knows it."""
    overload: Callable[[], bool] = attrs.field(default=lambda: False, init=False)
    """Whether more callers come than can be served, for longer than a burst lasts: some are served all the same."""
    _debts: dict[str, Debt] = attrs.field(factory=dict, init=False)
    _turns: Turns = attrs.field(factory=lambda: Turns(AT_ONCE), init=False)
    _request_seconds: float | None = attrs.field(default=None, init=False)
    """How long a request of a hand-back has taken lately."""
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def places(self) -> int:
        """How many are tried at one time."""
        return AT_ONCE_OVERLOADED if self.overload() else AT_ONCE

    @property
    def channels(self) -> frozenset[str]:
        """The channels whose hand-back is owed."""
        return frozenset(self._debts)

    @property
    def due(self) -> int:
        """Hand-backs that are being tried, or would be were there room; others have failed, and rest for a while."""
        return sum(debt.at_work or debt.due <= trio.current_time() for debt in self._debts.values())

    @property
    def waiting(self) -> int:
        """Those of them whose turn has not come."""
        return self.due - sum(debt.begun for debt in self._debts.values())

    def lasting(self, hand_backs: int, *, told: bool = True) -> float:
        """Seconds that so many take at the pace of the last ones, with AGENTD_RESULT or without."""
        return math.ceil(hand_backs / self.places) * (2 if told else 1) * (self._request_seconds or 0.0)

    def of(self, channel: str) -> Debt | None:
        """What is owed to the channel."""
        return self._debts.get(channel)

    def owe(
        self,
        channel: str,
        result: str,
        destination: Destination | None = None,
        since: float | None = None,
        way_back: Destination | None = None,
    ) -> Debt:
        """Have the channel go on in the dialplan, at the destination or where it came from; from now on it is tried
        until it is settled. One that is owed already stays as it is. `since`: when the caller came, if not now;
        `way_back`: see Debt."""
        if (known := self._debts.get(channel)) is not None:
            return known
        now = trio.current_time()
        debt = self._debts[channel] = Debt(channel, result, destination, now, now if since is None else since, way_back)
        self._note()
        return debt

    def goes_over(self, channel: str, successor: str) -> bool:
        """Another channel has taken the place of this one: what was owed to it, if anything, is owed to that. What
        Asterisk answers about the one that was replaced tells nothing from now on."""
        if (debt := self._debts.pop(channel, None)) is None:
            return False
        debt.channel, debt.in_doubt, debt.due = successor, False, trio.current_time()
        self._debts[successor] = debt
        self._note()
        return True

    async def pay(self, debt: Debt) -> None:
        """Try it once. Raises nothing: what failed is logged, and comes up again. Cancelling it loses no debt."""
        debt.at_work = True
        self._turns.places = self.places
        try:
            async with self._turns.turn(debt.since):
                if debt.outcome is None:
                    debt.tries, debt.begun = debt.tries + 1, True
                    await self._try(debt)
        except trio.Cancelled:
            debt.in_doubt = True
            raise
        finally:
            debt.at_work = debt.begun = False
            debt.due = trio.current_time() + pause_after(debt.tries)
            self._note()

    async def see_through(self, debt: Debt) -> None:
        """Pay this one, with back-off, until it is settled, whether `run` runs or not; the caller sets the deadline."""
        while debt.outcome is None:
            if debt.at_work or debt.due > trio.current_time():
                retry = math.inf if debt.at_work else debt.due
                with trio.move_on_at(retry):
                    await self._changed.wait()
            else:
                await self.pay(debt)

    async def run(self) -> None:
        """Pay what is due, with back-off, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                at_work = sum(debt.at_work for debt in self._debts.values())
                waiting = [debt for debt in self._debts.values() if not debt.at_work]
                due = [debt for debt in waiting if debt.due <= trio.current_time()]
                due.sort(key=lambda debt: debt.since)
                for debt in due[: max(self.places - at_work, 0)]:
                    debt.at_work = True
                    nursery.start_soon(self.pay, debt)
                # What is due and has to wait is begun when what is under way has ended, which is a change.
                next_due = min((debt.due for debt in waiting if debt not in due), default=math.inf)
                with trio.move_on_at(next_due):
                    await self._changed.wait()

    async def nothing_owed(self) -> None:
        """Wait until nothing is owed any more; the caller sets the deadline."""
        while self._debts:
            await self._changed.wait()

    def left(self, channel: str) -> None:
        """The channel has left the application, or has ended: nothing is owed to it."""
        if (debt := self._debts.get(channel)) is not None:
            self._settle(debt, Outcome.WENT_ON if debt.tries else Outcome.GONE)

    def destroyed(self, channel: str) -> None:
        """There is no such channel any more."""
        if (debt := self._debts.get(channel)) is not None:
            self._settle(debt, Outcome.GONE)

    async def _try(self, debt: Debt) -> None:
        channel, began = debt.channel, trio.current_time()
        untold = debt.destination is None and goes_untold(
            debt.result, began - debt.owed_at, self.lasting(self.due), overload=self.overload()
        )
        try:
            if debt.destination is None:
                await self._hand_back(debt, None if untold else debt.result)
                if untold:
                    self.metrics.hand_backs_untold.inc()
            else:
                refused = await self._transfer(debt, debt.destination)
                if refused is not None and debt.outcome is None and debt.channel == channel:
                    await self._turn_back(debt, refused)
        except AriError as error:
            if debt.channel == channel:
                self._failed(debt, error)
        else:
            if debt.channel == channel:
                self._settle(debt, Outcome.WENT_ON)
        finally:
            took = (trio.current_time() - began) / (1 if untold else 2)
            self._request_seconds = smoothed(self._request_seconds, took)

    async def _hand_back(self, debt: Debt, result: str | None) -> None:
        """Have the channel go on where it came from."""
        channel, origin = debt.channel, self.origin(debt.channel)
        place, fallback = (debt.way_back, "") if origin is None else (origin.place, origin.fallback)
        if place is not None:
            await self.rest.forget_way_back(channel)
        await self.rest.hand_back(channel, result, place, fallback)

    async def _transfer(self, debt: Debt, destination: Destination) -> AriRejected | None:
        """Send the channel to the destination; gives the refusal where it cannot go there. Raises AriError where that
        is not said."""
        channel = debt.channel
        if self.origin(channel) is not None:
            await self.rest.forget_way_back(channel)
        try:
            await self.rest.hand_back(channel, debt.result, destination)
        except AriRejected as error:
            if not refuses_destination(error, debt.tries) or (debt.in_doubt and judge(error).settles):
                raise
            return error
        log.info("transferred", channel=channel, destination=str(destination))
        return None

    async def _turn_back(self, debt: Debt, refused: AriRejected) -> None:
        """Have a channel whose destination was refused go on where it came from."""
        gone = False
        try:
            await self._hand_back(debt, Result.FAILED_TRANSFER)
        except AriError as error:
            gone = judge(error).settles  # that is why it was refused
            raise
        finally:
            if not gone:
                log.error(
                    "the transfer failed",
                    channel=debt.channel,
                    destination=str(debt.destination),
                    error=str(refused),
                )
                debt.destination, debt.result = None, Result.FAILED_TRANSFER

    def _failed(self, debt: Debt, error: AriError) -> None:
        refusal = judge(error)
        if refusal.settles:
            self._settle(debt, Outcome.WENT_ON if debt.in_doubt else Outcome.GONE)
            return
        debt.in_doubt = debt.in_doubt or not isinstance(error, AriRejected)
        if debt.outcome is None and refusal is not debt.refusal:
            log.error(
                "a caller cannot be handed back yet, and is tried again",
                channel=debt.channel,
                result=debt.result,
                error=str(error),
                remedy=refusal.remedy,
            )
            debt.refusal = refusal

    def _settle(self, debt: Debt, outcome: Outcome) -> None:
        if debt.outcome is not None:
            return
        debt.outcome = outcome
        if self._debts.get(debt.channel) is debt:
            del self._debts[debt.channel]
        if outcome is Outcome.GONE:
            log.info("the channel was gone before it could be handed back", channel=debt.channel)
        elif debt.tries > 1:
            log.info("a caller is handed back after all", channel=debt.channel, tries=debt.tries)
        debt.settled.set()
        debt.on_settled(debt.ended_with)
        self._note()

    def _note(self) -> None:
        self.metrics.hand_backs_owed.set(len(self._debts))
        self._changed.set()
        self._changed = trio.Event()
