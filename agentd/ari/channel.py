"""One call's handle on its channel: answer, media legs, and the way back into the dialplan.

A media leg carries the caller's voice to agentd, and when streaming the agent's voice back. There are two kinds:

* *streaming*: a mixing bridge joins the caller's channel with the leg's media channel. With two channels in it
  Asterisk passes frames on as they come, so what agentd writes is what the caller hears, and nothing else.
* *listening*: the caller's channel stays out of any bridge, because files are played on it: a Snoop channel
  (`spy=in`) hears what the caller says and nothing of what is played to the caller, and a mixing bridge joins it with
  the leg's media channel. So the agent never hears itself (the echo trap of playing on a bridge) and goes on
  hearing the caller while it speaks (which playing on a bridged channel prevents).

The transport decides what the media channel is, and how its connection comes to agentd: see agentd.media.transport.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.ari.client import AriClient
from agentd.ari.departure import was_taken
from agentd.ari.events import (
    ChannelDestroyed,
    ConnectedLine,
    DtmfReceived,
    HangupRequested,
    Hold,
    LeftBridge,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    StasisStart,
    VarSet,
)
from agentd.ari.hand_back import Refusal, judge, pause_after
from agentd.ari.rest import AriRest
from agentd.ari.route import Route
from agentd.ari.successor import meet
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination
from agentd.errors import AriError, AriRejected, MediaTimeout
from agentd.media.codecs import REMEDY, unconverted
from agentd.media.leg import LegKind, LineFormat, MediaConnection
from agentd.media.transport import DialplanMedia, ExpectedLeg, ExternalMedia, Transport
from agentd.party import Party

log = structlog.get_logger("agentd.channel")

TEARDOWN_DEADLINE = deadlines.TEARDOWN.seconds
SILENCE_BEGINS = 0.2
"""Seconds in which a channel plays the silence that was asked for."""
NOT_YET = (400, 409, 422)
"""Statuses of addChannel while the channel is still on its way into the application."""


@attrs.define(eq=False)
class CallerChannel:
    """The caller's channel and everything that agentd makes on the PBX for it.

    Another channel may take the caller's place (an attended transfer). Asterisk puts it into the streaming leg's bridge
    itself; a listening leg hears the channel that is gone, so it is replaced by a fresh one.

    `on_playback` is told, while `next_event` is being waited for, how the channel's playbacks go; `on_leg`, how each
    media leg came up: None, or what it failed by. Neither may block.
    """

    client: AriClient
    route: Route
    transport: Transport
    line: LineFormat = attrs.field(factory=LineFormat)
    """The format that the legs carry."""
    lost_means_hang_up: bool = False
    on_playback: Callable[[PlaybackStarted | PlaybackFinished], None] = lambda _event: None
    on_leg: Callable[[AriError | MediaTimeout | None], None] = lambda _error: None
    _set_up: bool = attrs.field(default=False, init=False)
    """A media leg has come up."""
    _leaving: bool = attrs.field(default=False, init=False)
    _hanging_up: bool = attrs.field(default=False, init=False)
    """Somebody has asked for a hang-up, the caller's telephone for one."""
    _connected: tuple[str, str] | None = attrs.field(default=None, init=False)
    """With whom the media legs are connected, by number and name; withheld ones too."""
    _expected: dict[str, ExpectedLeg] = attrs.field(factory=dict, init=False)
    """The leg that is being brought up, by the ids of its channels."""
    _leg_format: str = attrs.field(default="", init=False)
    """What the leg of now carries, where it is externalMedia's."""
    _bridge: str = attrs.field(default="", init=False)
    """The bridge of the streaming leg of now."""
    _media: str = attrs.field(default="", init=False)
    """The media channel of the leg of now."""
    _stuck_in: tuple[str, str] | None = attrs.field(default=None, init=False)
    """The channel whose codec Asterisk cannot convert, and the codec."""
    _listens: MediaConnection | None = attrs.field(default=None, init=False)
    """The connection of the listening leg of now."""

    def __attrs_post_init__(self) -> None:
        self.route.on_successor = self._listen_to_successor

    @property
    def id(self) -> str:
        """The channel of now."""
        return self.route.caller

    def _listen_to_successor(self) -> None:
        if self._listens is not None:
            self._listens.hang_up()

    @property
    def rest(self) -> AriRest:
        """Requests for this caller. Those of a call that is still being set up go behind all others."""
        return self.client.rest if self._set_up else self.client.rest.setting_up

    async def next_event(self) -> happens.CallerEvent:
        """The next thing that happens to the caller. For one reader, from the call's begin to its end.

        News of our own channels and playbacks is dealt with meanwhile. Where events were lost, a reconciliation finds
        out whether the caller is still there.
        """
        while True:
            match event := await self.route.receive():
                case StasisStart(channel, replaces=replaced) if channel.id == self.id and replaced is not None:
                    self._hanging_up, self._connected = False, None
                    return happens.CallerReplaced(channel.name)
                case StasisEnd(channel) | ChannelDestroyed(channel) if channel.id == self.id:
                    if self._leaving:
                        return happens.Left()
                    untold = isinstance(event, StasisEnd) and event.at is not None and not self._hanging_up
                    return happens.CallerHungUp(untold and await was_taken(self.rest, channel.id))
                case HangupRequested(channel) if channel.id == self.id:
                    self._hanging_up = True
                case ConnectedLine(channel, number, name) if channel.id != self.id and (number or name):
                    before, self._connected = self._connected, (number, name)
                    if before not in (None, self._connected):
                        return happens.CallerChanged()
                case DtmfReceived(channel, digit) if channel.id == self.id:
                    return happens.DigitPressed(digit)
                case Hold(channel, held) if channel.id == self.id:
                    return happens.HoldBegan() if held else happens.HoldEnded()
                case LeftBridge(channel, bridge) if channel.id == self.id and bridge == self._bridge:
                    return happens.CallerUnbridged()
                case VarSet(channel, variable, value) if channel.id in self._expected:
                    self._expected[channel.id].told({variable: value})
                case PlaybackStarted() | PlaybackFinished():
                    self.on_playback(event)

    async def answer(self) -> None:
        """Answer the call and send silence, so that the caller's line carries audio from the first moment.

        Asterisk is asked once more where it cannot do it now, or where it is not known whether it has: to answer a call
        that is answered does nothing. Raises AriError where that is in vain.
        """
        try:
            await self.rest.answer(self.id)
        except AriError as error:
            if judge(error) is not Refusal.TRY_AGAIN:
                raise
            await trio.sleep(pause_after(1))
            await self.rest.answer(self.id)
        await self.carry_silence()

    async def keep_silence(self) -> None:
        """Send silence until the next playback: some phones hang up when no RTP comes."""
        if not self.route.left:
            await self.rest.start_silence(self.id)

    async def carry_silence(self) -> None:
        """See agentd.media.leg.MediaSource.carry_silence."""
        try:
            await self.keep_silence()
        except AriRejected as error:
            log.debug("no silence on a channel that has left", error=str(error))
        except AriError as error:
            log.warning("the caller's line may carry no audio until the next leg", error=str(error))

    async def leg_stands(self) -> bool:
        """See agentd.media.leg.MediaSource.leg_stands."""
        return bool(self._media) and await self.rest.channel(self._media) is not None

    async def unconverted(self) -> str:
        """See agentd.media.leg.MediaSource.unconverted."""
        if self._stuck_in is None or self._stuck_in[0] != self.id:
            try:
                codec = await self._stuck()
                if codec:
                    # Out of a bridge it may be in its own format since nothing is played: silence has to be converted.
                    await self.keep_silence()
                    await trio.sleep(SILENCE_BEGINS)
                    codec = await self._stuck()
            except AriError as error:
                log.debug("whether Asterisk converts the caller's codec cannot be told", error=str(error))
                return ""
            if not codec:
                return ""
            self._stuck_in = (self.id, codec)
            self.client.metrics.codecs_unconverted.inc()
            log.error("Asterisk cannot convert the caller's codec", codec=codec, remedy=REMEDY)
        return self._stuck_in[1]

    async def _stuck(self) -> str:
        read = await self._format("audioreadformat")
        if not unconverted(read, read, read, self._leg_format):
            return ""  # it is converted: at a time of many such calls each further request counts
        return unconverted(
            await self._format("audionativeformat"), read, await self._format("audiowriteformat"), self._leg_format
        )

    async def _format(self, name: str) -> str:
        return await self.rest.variable(self.id, f"CHANNEL({name})")

    async def meet_successor(self) -> Party:
        """See agentd.ari.successor.meet."""
        return await meet(self.rest, self.id, self.client.whereabouts.origin(self.id))

    async def leave(self, result: str, destination: Destination | None = None) -> bool:
        """Go on in the dialplan with AGENTD_RESULT set; see agentd.ari.route.Route.leave.

        From then on the channel is not ours: nothing is asked of Asterisk about it any more.
        """
        self._leaving = True
        return await self.route.leave(result, destination)

    async def send_dtmf(self, digits: str) -> None:
        """Send DTMF to the caller. Raises AriError."""
        await self.rest.send_dtmf(self.id, digits)

    async def dialplan_has(self, context: str, extension: str) -> bool:
        """Whether the dialplan has priority 1 of the extension, by name or by pattern. Raises AriError.

        Neither name may hold what means something to a dialplan function: `agentd.tools.transfer` sees to it.
        """
        return await self.rest.variable(self.id, f"DIALPLAN_EXISTS({context},{extension},1)") == "1"

    @asynccontextmanager
    async def media_leg(self, kind: LegKind) -> AsyncIterator[MediaConnection]:
        """Bring up a media leg; gives its connection. Leaving the block removes all of the leg.

        Raises:
            MediaTimeout: no connection came within the transport's bind timeout.
            AriError: Asterisk refused or did not answer.

        Cancelling it removes what was made so far; the removal is bounded in time.
        """
        leg, transport, caller = uuid4(), self.transport, self.id
        bridge, snoop, media, far = (self.client.leg_id(part, leg.hex) for part in ("bridge", "snoop", "media", "far"))
        for part in (bridge, snoop, media, far):
            self.route.owns(part)
        connection: MediaConnection | None = None
        up = False
        started = trio.current_time()
        try:
            with trio.move_on_after(transport.bind_timeout) as deadline:
                await self.rest.create_bridge(bridge)
                if kind is LegKind.LISTENING:
                    await self.rest.snoop(self.id, self.client.app, snoop)
                    await self._enter(bridge, snoop)
                connection = await self._connection(leg, bridge, media, far)
                if kind is LegKind.STREAMING:
                    # Last: until the leg is there, the caller's line carries the silence of `answer`.
                    await self.rest.stop_silence(self.id)
                    self._bridge = bridge
                    await self.rest.add_to_bridge(bridge, self.id)
            if deadline.cancelled_caught or connection is None:
                raise MediaTimeout(
                    f"no audio leg ({transport.name}) within {transport.bind_timeout:g} s: {transport.way}; "
                    "`agentd doctor` checks that way"
                )
            log.info(
                "media leg bound",
                way=transport.name,
                kind=str(kind),
                uuid=str(leg),
                peer=connection.peer,
                after_ms=round((trio.current_time() - started) * 1000),
            )
            up = self._set_up = True
            self._media = media
            self.on_leg(None)
            if kind is LegKind.LISTENING:
                self._listens = connection
                if self.id != caller:
                    self._listen_to_successor()
            yield connection
        except (AriError, MediaTimeout) as error:
            if not up:
                self.on_leg(error)
            raise
        finally:
            self._listens, self._bridge, self._media = None, "", ""
            if connection is not None:
                connection.release()
            with trio.move_on_after(TEARDOWN_DEADLINE, shield=True) as removal:
                await self._remove(bridge, snoop, media)
            if removal.cancelled_caught:
                log.warning("removing the media leg took too long", bridge=bridge, deadline_s=TEARDOWN_DEADLINE)
            for part in (bridge, snoop, media, far):
                self.route.disowns(part)

    async def _connection(self, leg: UUID, bridge: str, media: str, far: str) -> MediaConnection:
        """Have Asterisk make the media channel that the transport wants, and take it into the bridge."""
        with self.transport.expect(leg, self.line) as expected:
            self._expected = {media: expected, far: expected}
            try:
                match expected.request:
                    case ExternalMedia() as request:
                        self._leg_format = request.format
                        expected.told(await self.rest.external_media(media, self.client.app, request))
                    case DialplanMedia() as request:
                        await self.rest.originate_local(media, far, self.client.app, request)
                await self._enter(bridge, media)
                return await expected.connection(self.transport.bind_timeout)
            finally:
                self._expected = {}

    async def _enter(self, bridge: str, channel: str) -> None:
        """Add a new channel to the bridge as soon as it is in our application (a few milliseconds)."""
        pause = 0.005
        while True:
            try:
                await self.rest.add_to_bridge(bridge, channel)
            except AriRejected as error:
                if error.status not in NOT_YET:
                    raise
            else:
                return
            await trio.sleep(pause)
            pause = min(pause * 2, 0.2)

    async def _remove(self, bridge: str, snoop: str, media: str) -> None:
        """Have all parts removed, in this order and at once: an answer that does not come holds up none of them."""
        async with trio.open_nursery() as nursery:
            for remove, part in (
                (self.client.rest.hang_up, media),
                (self.client.rest.hang_up, snoop),
                (self.client.rest.destroy_bridge, bridge),
            ):
                await nursery.start(self._remove_part, remove, part)

    async def _remove_part(
        self, remove: Callable[[str], Awaitable[None]], part: str, *, task_status: trio.TaskStatus[None]
    ) -> None:
        task_status.started()
        try:
            await remove(part)
        except AriError as error:
            log.warning("a part of the media leg could not be removed yet", part=part, error=str(error))
            self.client.removals.failed(part, remove, error)
