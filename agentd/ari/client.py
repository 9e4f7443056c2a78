"""The ARI event stream: connect, dispatch to calls in order, reconnect, reconcile."""

import base64
import random
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.ari.events import Channel, Event, Other, StasisEnd, StasisStart, parse_event
from agentd.ari.rest import AriRest
from agentd.conversation.commands import Destination
from agentd.errors import AriError, AriRejected, AriUnavailable, WebSocketError, ungrouped
from agentd.metrics import Metrics
from agentd.websocket import WebSocket

log = structlog.get_logger("agentd.ari")

ROUTE_QUEUE = 128
"""Events that may wait for one call."""
MAX_EVENT_BYTES = 1 << 18
REGISTRATION_PATIENCE = deadlines.ARI_REGISTRATION.seconds
ORPHAN_PATIENCE = 2.0
"""Seconds that an unowned caller channel may stay in our application before it is handed back."""
LEAVE_DEADLINE = deadlines.LEAVE.seconds


@attrs.frozen
class Resync:
    """Events of this call may have been lost: ask Asterisk instead of guessing."""


@attrs.define(eq=False)
class Route:
    """One call's events, in order. `owns` names the channels whose events belong to it."""

    caller: str
    _client: "AriClient" = attrs.field(repr=False)
    _send: trio.MemorySendChannel[Event | Resync] = attrs.field(repr=False)
    _receive: trio.MemoryReceiveChannel[Event | Resync] = attrs.field(repr=False)
    channels: set[str] = attrs.field(factory=set, init=False)
    left: bool = attrs.field(default=False, init=False)
    """The caller was handed over: the channel is the dialplan's now, or another call's."""
    _lost: bool = attrs.field(default=False, init=False)

    def owns(self, channel: str) -> None:
        """Route this channel's events here too."""
        self.channels.add(channel)
        self._client.routes[channel] = self

    def disowns(self, channel: str) -> None:
        """Stop routing this channel's events here."""
        self.channels.discard(channel)
        if self._client.routes.get(channel) is self:  # a caller who came back belongs to another call
            del self._client.routes[channel]

    async def leave(self, result: str, destination: Destination | None = None) -> bool:
        """Hand the caller over to the dialplan with AGENTD_RESULT set; false if there was nobody to hand over.

        Only once: the channel is somebody else's afterwards. A cancellation waits for it, lest half of it is done.
        """
        if self.left:
            return False
        with trio.move_on_after(LEAVE_DEADLINE, shield=True):
            self.left = await try_leave(self._client.rest, self.caller, result, destination)
        if self.left:
            self.disowns(self.caller)
        return self.left

    def put(self, event: Event | Resync) -> None:
        """Append an event; one that finds the queue full is counted, and a Resync follows in its place.

        A closed route takes nothing: a reconciliation may come back from a request to a call that has ended.
        """
        try:
            self._send.send_nowait(event)
        except trio.ClosedResourceError:
            return
        except trio.WouldBlock:
            self._lost = True
            self._client.metrics.ari_events_dropped.inc()

    def close(self) -> None:
        """Stop routing."""
        for channel in tuple(self.channels):
            self.disowns(channel)
        self._send.close()
        self._receive.close()

    async def receive(self) -> Event | Resync:
        """The next event of this call."""
        if self._lost and not self._receive.statistics().current_buffer_used:
            self._lost = False
            return Resync()
        return await self._receive.receive()


@attrs.define(eq=False)
class AriClient:
    """The application `app` on one Asterisk. `run` keeps the event stream up for the daemon's whole life.

    `on_call(start)` is called, and must not block, for every channel that enters the application and belongs
    to no call yet.
    """

    url: str
    username: str
    password: str = attrs.field(repr=False)
    app: str
    rest: AriRest
    metrics: Metrics
    on_call: Callable[[StasisStart], None]
    beat: Callable[[], None] = lambda: None
    first_delay: float = 0.1
    longest_delay: float = deadlines.ARI_BACK_OFF.seconds
    connected: bool = attrs.field(default=False, init=False)
    routes: dict[str, Route] = attrs.field(factory=dict, init=False)
    ever_connected: trio.Event = attrs.field(factory=trio.Event, init=False)

    def route(self, caller: str) -> Route:
        """Route the events of a call, named by its caller's channel, until the route is closed.

        It takes effect at once, so that nothing that follows the channel's StasisStart is missed.
        """
        send, receive = trio.open_memory_channel[Event | Resync](ROUTE_QUEUE)
        route = Route(caller, self, send, receive)
        route.owns(caller)
        return route

    async def run(self) -> None:
        """Connect, and connect again with exponential back-off and jitter whenever the stream is lost."""
        delay, was_up = self.first_delay, False
        while True:
            try:
                await self._connected(again=was_up)
            except (WebSocketError, AriError) as error:
                was_up = was_up or self.connected
                if self.connected:
                    delay = self.first_delay
                self._set_connected(False)
                pause = delay * random.uniform(0.5, 1.0)
                log.warning("ARI event stream is down", error=str(error), retry_in_s=round(pause, 2))
                self.beat()
                await trio.sleep(pause)
                delay = min(delay * 2, self.longest_delay)

    async def _connected(self, again: bool) -> None:
        """One life of the event stream. Raises WebSocketError or AriError when it ends."""
        socket = WebSocket(self._events_url(), self._headers(), max_message=MAX_EVENT_BYTES)
        with ungrouped(WebSocketError, AriError):
            async with trio.open_nursery() as nursery:
                await nursery.start(socket.run)
                await self._registered()
                await self._reconcile()
                self._set_connected(True)
                log.info("ARI event stream is up", app=self.app, url=self.url)
                if again:
                    self.metrics.ari_reconnects.inc()
                self.ever_connected.set()
                nursery.start_soon(self._hand_back_orphans)
                await self._pump(socket)

    async def _registered(self) -> None:
        """Wait until Asterisk has our application. It registers it just after it has opened the WebSocket; and
        one that reconnects within a millisecond of its last close can be destroyed again (seen on 22.10)."""
        with trio.move_on_after(REGISTRATION_PATIENCE):
            while True:
                try:
                    await self.rest.application_channels(self.app)
                except AriRejected as error:
                    if error.status != 404:
                        raise
                    await trio.sleep(0.02)
                else:
                    return
        raise AriError(f"Asterisk opened the event stream but does not know the application {self.app!r}")

    async def _pump(self, socket: WebSocket) -> None:
        dropped = 0
        while True:
            message: str | bytes | None = None
            with trio.move_on_after(deadlines.ARI_PUMP_TURN.seconds):
                message = await socket.receive()
            self.beat()
            if message is None:
                continue
            self.metrics.ari_events.inc()
            try:
                event = parse_event(message)
            except AriError as error:
                log.warning("ARI event skipped", error=str(error))
                continue
            self._dispatch(event)
            if socket.dropped != dropped:
                self.metrics.ari_events_dropped.inc(socket.dropped - dropped)
                dropped = socket.dropped
                for route in set(self.routes.values()):
                    route.put(Resync())

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, Other) and event.type == "ApplicationReplaced":
            log.error("another program has taken over our ARI application: do two agentd run?", app=self.app)
        channel = event.channel
        if channel is None:
            return
        route = self.routes.get(channel.id)
        if isinstance(event, StasisStart) and not self.is_ours(channel.id):
            # Be there a route or not: a caller who was transferred to an extension of ours comes back while the call
            # before still ends.
            self.on_call(event)
        elif route is not None:
            route.put(event)

    def is_ours(self, object_id: str) -> bool:
        """True for the ids of channels and bridges that this application makes (see `leg_id`)."""
        return object_id.startswith(f"{self.app}-leg-")

    def leg_id(self, part: str, uuid: str) -> str:
        """The id of a channel or bridge of a media leg; known before it exists, so that it can be removed
        whatever happens to the request that makes it."""
        return f"{self.app}-leg-{part}-{uuid}"

    async def _reconcile(self) -> None:
        """After a (re)connection: end calls that are gone, watch those that live, remove what nobody owns."""
        channels = await self.rest.channels()
        subscribed = await self.rest.application_channels(self.app)
        for route in set(self.routes.values()):
            if route.left:
                continue
            if channels.get(route.caller) is None:
                log.info("channel went away while the event stream was down", channel=route.caller)
                route.put(StasisEnd(Channel(route.caller)))
                continue
            if route.caller not in subscribed:
                await self._subscribe(route.caller)
            route.put(Resync())
        for channel in channels:
            if self.is_ours(channel) and channel not in self.routes:
                log.warning("removing a media channel that nobody owns", channel=channel)
                await self.rest.hang_up(channel)
        for bridge in await self.rest.bridges():
            if self.is_ours(bridge) and bridge not in self.routes:
                log.warning("removing a bridge that nobody owns", bridge=bridge)
                await self.rest.destroy_bridge(bridge)

    async def _subscribe(self, caller: str) -> None:
        """Have a caller's events come to us again, where Asterisk has destroyed the application meanwhile.

        Not where it has not: it counts subscriptions and ends only its own when the caller leaves. A caller who was
        transferred, and whom we are still subscribed to, would be taken for one that no call owns.
        """
        try:
            await self.rest.subscribe(self.app, f"channel:{caller}")
        except AriRejected as error:
            log.info("channel cannot be watched", channel=caller, error=str(error))

    async def _hand_back_orphans(self) -> None:
        """Callers whose call died with an earlier agentd sit in the application, hearing nothing: they go on
        in the dialplan. A caller whose StasisStart is still on its way gets a moment to be owned."""
        before = await self._unowned()
        await trio.sleep(ORPHAN_PATIENCE)
        for channel in before & await self._unowned():
            log.warning("handing back a caller that no call owns", channel=channel)
            await try_leave(self.rest, channel, "failed:internal")

    async def _unowned(self) -> set[str]:
        return {
            channel
            for channel in await self.rest.application_channels(self.app)
            if channel not in self.routes and not self.is_ours(channel)
        }

    def _events_url(self) -> str:
        parts = urlsplit(self.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return f"{scheme}://{parts.netloc}/ari/events?{urlencode({'app': self.app})}"

    def _headers(self) -> tuple[tuple[str, str], ...]:
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return (("Authorization", f"Basic {token}"),)

    def lost(self) -> None:
        """The stream is down, whatever ended `run`."""
        self._set_connected(False)

    def _set_connected(self, up: bool) -> None:
        self.connected = up
        self.metrics.ari_connected.set(up)


async def try_leave(rest: AriRest, channel: str, result: str, destination: Destination | None = None) -> bool:
    """Hand a channel over to the dialplan with AGENTD_RESULT set; false if it was gone already.

    One that cannot go on at the destination goes on where it came from.
    """
    try:
        await rest.set_variable(channel, "AGENTD_RESULT", result)
        if destination is None or not await _goes_on_at(rest, channel, destination):
            await rest.continue_in_dialplan(channel)
    except AriUnavailable as error:
        log.error("could not hand a channel back to the dialplan", channel=channel, error=str(error))
        return False
    except AriError as error:
        log.info("channel was gone before it could be handed back", channel=channel, error=str(error))
        return False
    return True


async def _goes_on_at(rest: AriRest, channel: str, destination: Destination) -> bool:
    try:
        await rest.continue_in_dialplan(channel, destination)
    except AriError as error:
        log.error("the transfer failed", channel=channel, destination=str(destination), error=str(error))
        return False
    log.info("transferred", channel=channel, destination=str(destination))
    return True
