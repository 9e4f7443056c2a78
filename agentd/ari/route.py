"""One call's share of the event stream, and the way out: its caller is handed over once."""

from collections.abc import Callable, MutableMapping

import attrs
import trio

from agentd import budgets, deadlines
from agentd.ari.events import Channel, Event, StasisEnd, StasisStart
from agentd.ari.owed import Debt, HandBacks, Outcome
from agentd.conversation.commands import Destination

ROUTE_QUEUE = budgets.EVENTS.most
"""Events that may wait for one call."""
LEAVE_DEADLINE = deadlines.LEAVE.seconds


@attrs.define(eq=False)
class Route:
    """One call's events, in order. `owns` names the channels whose events belong to it.

    `caller` is the channel of now: another one may take its place.

    `on_lost` is called, and must not block, where an event found the queue full.
    """

    caller: str
    _routes: MutableMapping[str, "Route"] = attrs.field(repr=False)
    """All routes by the channels that they own."""
    _hand_backs: HandBacks = attrs.field(repr=False)
    _on_lost: Callable[[], None] = attrs.field(repr=False)
    since: float = 0.0
    """When the caller came: who has been here for longest is handed back first."""
    channels: set[str] = attrs.field(factory=set, init=False)
    on_successor: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    """Called, and must not block, as soon as another channel has taken the caller's place."""
    owed: Debt | None = attrs.field(default=None, init=False)
    """The hand-over of the caller, once it is decided."""
    _send: trio.MemorySendChannel[Event] = attrs.field(init=False, repr=False)
    _receive: trio.MemoryReceiveChannel[Event] = attrs.field(init=False, repr=False)
    _end_due: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Event](ROUTE_QUEUE)
        self.owns(self.caller)

    def owns(self, channel: str) -> None:
        """Route this channel's events here too."""
        self.channels.add(channel)
        self._routes[channel] = self

    def disowns(self, channel: str) -> None:
        """Stop routing this channel's events here."""
        self.channels.discard(channel)
        if self._routes.get(channel) is self:  # a caller who came back belongs to another call
            del self._routes[channel]

    def goes_over(self, start: StasisStart) -> None:
        """Another channel has taken the caller's place: the call goes on with that one."""
        self.disowns(self.caller)
        self.caller = start.channel.id
        self.owns(self.caller)
        self.put(start)
        self.on_successor()

    async def leave(self, result: str, destination: Destination | None = None) -> bool:
        """Hand the caller over to the dialplan with AGENTD_RESULT set; true once the caller goes on there, false where
        there was nobody to hand over, and where that is still owed after LEAVE_DEADLINE.

        Only once: the channel is somebody else's afterwards; asked again, it waits for what is owed yet. What is not
        done stays owed and is done without this call (`owed` tells what comes of it), also when this is cancelled,
        which takes effect once the first try has had its answer.
        """
        again, debt = (
            self.owed is not None,
            self.owed or self._hand_backs.owe(self.caller, result, destination, self.since),
        )
        self.owed = debt
        with trio.move_on_after(LEAVE_DEADLINE):
            if not again:
                with trio.move_on_after(LEAVE_DEADLINE, shield=True):
                    await self._hand_backs.pay(debt)
            await self._hand_backs.see_through(debt)
        if self.left:
            self.disowns(self.caller)
        return self.left and not again

    @property
    def left(self) -> bool:
        """Whether the caller was handed over: the channel is the dialplan's now, or another call's."""
        return self.owed is not None and self.owed.outcome is Outcome.WENT_ON

    def put(self, event: Event) -> None:
        """Append an event; one that finds the queue full is counted, and Asterisk will be asked.

        A closed route takes nothing: a reconciliation may come back from a request to a call that has ended.
        """
        try:
            self._send.send_nowait(event)
        except trio.ClosedResourceError:
            return
        except trio.WouldBlock:
            self._on_lost()

    def end(self) -> None:
        """The caller has left the application: told once all is read that came before, even if the queue is full."""
        try:
            self._send.send_nowait(self._end)
        except trio.WouldBlock:
            self._end_due = True
        except trio.ClosedResourceError:
            pass

    def close(self) -> None:
        """Stop routing."""
        for channel in tuple(self.channels):
            self.disowns(channel)
        self._send.close()
        self._receive.close()

    async def receive(self) -> Event:
        """The next event of this call."""
        if self._end_due and not self._receive.statistics().current_buffer_used:
            self._end_due = False
            return self._end
        return await self._receive.receive()

    @property
    def _end(self) -> StasisEnd:
        return StasisEnd(Channel(self.caller))
