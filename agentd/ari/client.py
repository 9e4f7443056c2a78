"""The application on one Asterisk: its event stream, whose events go to calls in order, and what is owed to callers."""

import base64
import random
from collections.abc import Callable

import attrs
import structlog
import trio

from agentd import budgets, deadlines
from agentd.ari.contention import Contention
from agentd.ari.events import (
    ApplicationReplaced,
    ChannelDestroyed,
    Event,
    StasisStart,
    UserEvent,
    parse_event,
)
from agentd.ari.owed import HandBacks
from agentd.ari.possession import REGISTRATION_PATIENCE, Possession
from agentd.ari.reconciler import Reconciler
from agentd.ari.reconciliation import is_leg, leg_id
from agentd.ari.removals import Removals
from agentd.ari.rest import AriRest
from agentd.ari.route import Route
from agentd.ari.urls import events_url
from agentd.ari.whereabouts import Decision, Deed, Known, Whereabouts
from agentd.errors import ApplicationLost, AriError, AriRejected, AriUnavailable, WebSocketError, ungrouped
from agentd.metrics import Metrics
from agentd.websocket import WebSocket

log = structlog.get_logger("agentd.ari")

MAX_EVENT_BYTES = 1 << 18
LOOK_INTERVAL = 30.0
"""Seconds between two looks at what the PBX has, and between two proofs that the event stream is ours."""
LOOK_PAUSE = 2.0
"""Seconds between two looks at least; the next one comes then if the last one was not sure."""
FREE_INTERVAL = 2.0
"""Seconds between two questions whether a program that has taken the application has given it up."""


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
    hand_backs: HandBacks = attrs.field(init=False)
    removals: Removals = attrs.field(factory=Removals, init=False)
    reconciler: Reconciler = attrs.field(init=False)
    whereabouts: Whereabouts = attrs.field(factory=Whereabouts, init=False)
    _possession: Possession = attrs.field(init=False)
    _contention: Contention = attrs.field(factory=Contention, init=False)
    _taken: str = attrs.field(default="", init=False)
    _doubt: trio.Event = attrs.field(factory=trio.Event, init=False)
    _refused: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.hand_backs = HandBacks(self.rest, self.metrics, self.whereabouts.origin)
        self.reconciler = Reconciler(
            self.rest,
            self.app,
            self.routes,
            self.hand_backs,
            self.removals,
            lambda: self.beat(),
            lambda channel: self.whereabouts.known(channel) is Known.REPLACED,
        )
        self._possession = Possession(self.rest, self.app)
        self.rest.on_unanswered = self.doubt
        self.rest.on_refused = lambda: self._refused.set()

    @property
    def trouble(self) -> str:
        """Why callers cannot be served though Asterisk is there, with what helps; empty where they can."""
        return self._taken or self.rest.standing.trouble

    def route(self, caller: str, since: float = 0.0) -> Route:
        """Route the events of a call, named by its caller's channel, who came at `since`, until the route is closed.

        It takes effect at once, so that nothing that follows the channel's StasisStart is missed.
        """
        return Route(caller, self.routes, self.hand_backs, self._overrun, since)

    def doubt(self) -> None:
        """Something may have happened that nobody told us: Asterisk is asked soon. Does not block."""
        self._doubt.set()

    async def run(self) -> None:
        """Serve the application until cancelled: keep the event stream up, hand back who is owed, remove what could not
        be removed, and look at what the PBX has every LOOK_INTERVAL and after every doubt."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.hand_backs.run)
            nursery.start_soon(self.removals.run)
            nursery.start_soon(self._look_after)
            await self._stay_connected()

    async def _stay_connected(self) -> None:
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
                self.beat()
                self.doubt()
                if isinstance(error, ApplicationLost):
                    await self._yield_application()
                    continue
                pause = delay * random.uniform(0.5, 1.0)
                log.warning("ARI event stream is down", error=str(error), retry_in_s=round(pause, 2))
                await trio.sleep(pause)
                delay = min(delay * 2, self.longest_delay)

    async def _connected(self, again: bool) -> None:
        """One life of the event stream. Raises WebSocketError or AriError when it ends."""
        await self._possession.may_write()  # before there is an application: its callers could not be answered
        socket = WebSocket(events_url(self.url, self.app), self._headers(), max_message=MAX_EVENT_BYTES)
        with ungrouped(WebSocketError, AriError):
            async with trio.open_nursery() as nursery:
                await nursery.start(socket.run)
                nursery.start_soon(self._pump, socket)
                with trio.move_on_after(deadlines.ARI_READS.seconds):
                    await socket.ping()  # what is published before Asterisk reads here is a warning in its log
                await self._possession.prove(REGISTRATION_PATIENCE)
                await self.reconciler.look(ours=True)
                self._set_connected(True)
                self._taken = ""
                self._contention.held(trio.current_time())
                log.info("ARI event stream is up", app=self.app, url=self.url)
                if again:
                    self.metrics.ari_reconnects.inc()
                self.ever_connected.set()
                self.doubt()
                while True:
                    self._refused = trio.Event()
                    with trio.move_on_after(LOOK_INTERVAL):
                        await self._refused.wait()  # without the application the dialplan serves who comes now
                    await self._proven()

    async def _proven(self) -> None:
        """Raises AriError where the application is no longer ours, or may no longer be worked with."""
        try:
            await self._possession.prove()
        except AriUnavailable as error:  # of requests, not of the stream, whose own heartbeat goes on
            log.warning("whether the event stream is still ours cannot be asked", error=str(error))
        except AriRejected as error:
            if error.status < 500:
                raise

    async def _yield_application(self) -> None:
        """Leave the application to the program that has taken it: until it is given up, or for a time that grows."""
        pause = self._contention.lost(trio.current_time())
        self._taken = (
            f"another program has taken the ARI application {self.app!r}: do two agentd run? "
            f"It is taken back in {pause:g} s, or once it is free"
        )
        log.error("another program has taken our ARI application: do two agentd run?", app=self.app, wait_s=pause)
        with trio.move_on_after(pause):
            while True:
                try:
                    await self.rest.application_channels(self.app)
                except AriRejected as error:
                    if error.status == 404:
                        return
                except AriError as error:
                    log.info("whether the ARI application is free cannot be told", error=str(error))
                self.beat()
                await trio.sleep(FREE_INTERVAL)

    async def _look_after(self) -> None:
        """Look at what the PBX has, on a clock and after doubts; what fails is tried again later and later."""
        failures = 0
        while True:
            if not self.reconciler.suspects:
                with trio.move_on_after(LOOK_INTERVAL):
                    await self._doubt.wait()
            try:
                if self.connected or self.routes or self.hand_backs.channels:
                    await self.reconciler.look(ours=self.connected)
            except AriError as error:
                if not failures:
                    log.warning("what the PBX has cannot be looked at", error=str(error))
                failures += 1
            else:
                failures = 0
            self._doubt = trio.Event()
            await trio.sleep(min(LOOK_PAUSE * 2.0 ** min(failures, 8), LOOK_INTERVAL))

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
                self._lost_events(socket.dropped - dropped)
                dropped = socket.dropped

    def _dispatch(self, event: Event) -> None:
        match event:
            case ApplicationReplaced(app) if app == self.app:
                raise ApplicationLost(f"another program has taken the application {self.app!r}")
            case UserEvent(name):
                self._possession.told(name)
        if event.channel is None:
            return
        if self.is_ours(event.channel.id):
            self._tell(event.channel.id, event)
        else:
            self._do(self.whereabouts.take(event))

    def _do(self, decision: Decision) -> None:
        """Do what was decided about an event of a channel; see agentd.ari.whereabouts."""
        channel, event = decision.channel, decision.event
        match decision.deed:
            case Deed.BEGIN | Deed.INHERIT:
                assert isinstance(event, StasisStart)
                self._begin(event)
            case Deed.TAKE_OVER:
                assert isinstance(event, StasisStart)
                self._take_over(event, decision.replaced)
            case Deed.END:
                if isinstance(event, ChannelDestroyed):
                    self.hand_backs.destroyed(channel)
                else:
                    self.hand_backs.left(channel)
                self._tell(channel, event)
            case Deed.TELL | Deed.TELL_SUCCESSOR:
                self._tell(channel, event)
            case Deed.IGNORE | Deed.ASK:
                self.metrics.ari_events_ignored.inc()
                if decision.deed is Deed.ASK:
                    self.doubt()

    def _begin(self, start: StasisStart) -> None:
        """A call begins. One that had the channel before may still be ending, or was not told that it had left."""
        channel = start.channel.id
        self.hand_backs.left(channel)
        if (before := self.routes.get(channel)) is not None:
            before.end()
            before.disowns(channel)
        self.on_call(start)

    def _take_over(self, start: StasisStart, replaced: str) -> None:
        """A channel has taken the place of one that is in the application: an attended transfer."""
        channel = start.channel.id
        self.hand_backs.left(channel)
        if (stray := self.routes.get(channel)) is not None:
            stray.end()
            stray.disowns(channel)
        owed = self.hand_backs.goes_over(replaced, channel)
        self.doubt()  # a blind transferer's channel stays, where the telephone does not hang up by itself
        if (route := self.routes.get(replaced)) is not None:
            log.info("another channel has taken the caller's place", before=replaced, now=channel)
            route.goes_over(start)
        elif not owed:  # the call has ended, and its caller was gone before they could be handed back
            self.on_call(start)

    def _tell(self, channel: str, event: Event) -> None:
        if (route := self.routes.get(channel)) is not None:
            route.put(event)

    def _lost_events(self, count: int) -> None:
        self.metrics.ari_events_dropped.inc(count)
        self.doubt()

    def _overrun(self) -> None:
        self.metrics.call_budget_exceeded.labels(budget=budgets.EVENTS.name).inc()
        self._lost_events(1)

    def is_ours(self, object_id: str) -> bool:
        """True for the ids of channels and bridges that this application makes (see `leg_id`)."""
        return is_leg(self.app, object_id)

    def leg_id(self, part: str, uuid: str) -> str:
        """See agentd.ari.reconciliation.leg_id."""
        return leg_id(self.app, part, uuid)

    def _headers(self) -> tuple[tuple[str, str], ...]:
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return (("Authorization", f"Basic {token}"),)

    def lost(self) -> None:
        """The stream is down, whatever ended `run`."""
        self._set_connected(False)

    def _set_connected(self, up: bool) -> None:
        self.connected = up
        self.metrics.ari_connected.set(up)
