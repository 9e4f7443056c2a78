"""Looks at what the PBX has, and has done what `reconciliation` decides: one listing for all calls."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.ari.events import Channel
from agentd.ari.hand_back import way_back_of
from agentd.ari.owed import HandBacks
from agentd.ari.reconciliation import Listing, Owned, Work, decide
from agentd.ari.removals import Removals, Remove
from agentd.ari.rest import AriRest
from agentd.ari.route import Route
from agentd.ari.successor import way_back
from agentd.conversation.commands import Result
from agentd.errors import AriError, AriRejected

log = structlog.get_logger("agentd.reconciliation")

T = TypeVar("T")
SURE_AFTER = 2.0
"""Seconds for which something has to look wrong before it is put right: what makes it right may be on its way."""
LOOK_DEADLINE = deadlines.ARI_LOOK.seconds
MOST_AT_A_LOOK = 50
"""Channels and bridges that are removed, and callers that are watched again, at one look."""


@attrs.define(eq=False)
class Reconciler:
    """Of the application `app`, whose calls have `routes`."""

    rest: AriRest
    app: str
    routes: Mapping[str, Route]
    hand_backs: HandBacks
    removals: Removals
    beat: Callable[[], None]
    """Called between requests: the one who looks is alive."""
    replaced: Callable[[str], bool] = lambda _channel: False
    """Whether another channel has taken the place of this one."""
    suspects: dict[str, float] = attrs.field(factory=dict, init=False)
    """What looked wrong at the last look and is to be decided yet: since when."""
    _lock: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)

    async def look(self, *, ours: bool) -> None:
        """List what there is, and put right what does not fit; `ours`: whether the application is.

        Raises AriError where Asterisk could not be asked; nothing is done then. What is handed back is only owed when
        this returns.
        """
        async with self._lock:
            with trio.move_on_after(LOOK_DEADLINE) as deadline:
                before = self._owned()
                listing = await self._listing(ours)
                now = trio.current_time()
                seen = {suspect for suspect, since in self.suspects.items() if now - since >= SURE_AFTER}
                work = decide(self.app, listing, before, self._owned(), seen, ours=ours)
                self.suspects = {suspect: self.suspects.get(suspect, now) for suspect in work.suspects}
                await self._carry_out(work, listing)
        if deadline.cancelled_caught:
            log.warning("Asterisk takes too long to be looked at", deadline_s=LOOK_DEADLINE)

    async def _step(self, request: Awaitable[T]) -> T:
        try:
            return await request
        finally:
            self.beat()

    async def _listing(self, ours: bool) -> Listing:
        channels = await self._step(self.rest.channels())
        if not ours:
            return Listing(channels)
        subscribed = await self._step(self.rest.application_channels(self.app))
        return Listing(channels, await self._step(self.rest.bridges()), subscribed)

    def _owned(self) -> Owned:
        owed = self.hand_backs.channels
        callers = {route.caller for route in self.routes.values() if not route.left and route.caller not in owed}
        parts = (self.routes.keys() - callers) | self.removals.ids
        return Owned(callers & self.routes.keys(), parts, owed)

    async def _carry_out(self, work: Work, listing: Listing) -> None:
        for caller in work.left:
            log.info("the caller has left, and no event told so", channel=caller)
            if (route := self.routes.get(caller)) is not None:
                route.end()
        for channel in work.paid:
            self.hand_backs.left(channel)
        for channel in work.hand_back:
            if self.replaced(channel):
                await self._each((channel,), self._let_go)
                continue
            await self._hand_back(listing.channels[channel])
        await self._each(work.watch, self._watch)
        await self._each(work.channels, self._hang_up, again=self.rest.hang_up)
        await self._each(work.bridges, self._destroy, again=self.rest.destroy_bridge)

    async def _hand_back(self, channel: Channel) -> None:
        try:
            goes_on_at = await self._step(way_back(self.rest, channel))
        except AriError as error:
            log.warning("where a caller goes on could not be asked", channel=channel.id, error=str(error))
            goes_on_at = way_back_of(channel.place, "")
        log.warning("handing back a caller that no call owns", channel=channel.id)
        self.hand_backs.owe(channel.id, Result.FAILED_INTERNAL, way_back=goes_on_at)

    async def _each(self, ids: Iterable[str], do: Remove, *, again: Remove | None = None) -> None:
        """`again`: what is tried, before the next look, until it is done."""
        for object_id in sorted(ids)[:MOST_AT_A_LOOK]:
            try:
                await self._step(do(object_id))
            except AriError as error:
                log.warning("what does not fit could not be put right yet", id=object_id, error=str(error))
                if again is not None:
                    self.removals.failed(object_id, again, error)

    async def _hang_up(self, channel: str) -> None:
        log.warning("removing a media channel that nobody owns", channel=channel)
        await self.rest.hang_up(channel)

    async def _let_go(self, channel: str) -> None:
        """The transferer's, by a blind transfer: Asterisk leaves it in the application."""
        log.info("hanging up the channel of one who has put the call through", channel=channel)
        await self.rest.hang_up(channel)

    async def _destroy(self, bridge: str) -> None:
        log.warning("removing a bridge that nobody owns", bridge=bridge)
        await self.rest.destroy_bridge(bridge)

    async def _watch(self, caller: str) -> None:
        """Have a caller's events come to us again, where Asterisk has destroyed the application meanwhile.

        Not where it has not: it counts subscriptions and ends only its own when the caller leaves.
        """
        try:
            await self.rest.subscribe(self.app, f"channel:{caller}")
        except AriRejected as error:
            log.info("channel cannot be watched", channel=caller, error=str(error))
