"""One call's handle on its channel: answer, media legs, and the way back into the dialplan.

A media leg carries the caller's voice to agentd, and when streaming the agent's voice back. There are two kinds:

* *streaming*: a mixing bridge joins the caller's channel with the leg's AudioSocket channel. With two channels in it
  Asterisk passes frames on as they come, so what agentd writes is what the caller hears, and nothing else.
* *listening*: the caller's channel stays out of any bridge, because files are played on it: a Snoop channel
  (`spy=in`) hears what the caller says and nothing of what is played to the caller, and a mixing bridge joins it with
  the leg's AudioSocket channel. So the agent never hears itself (the echo trap of playing on a bridge) and goes on
  hearing the caller while it speaks (which playing on a bridged channel prevents).

The AudioSocket channel comes in one of two ways: ARI's externalMedia, or a Local channel whose far half runs
`AudioSocket()` in the dialplan (the media fork), for hosts where chan_audiosocket is not to be had.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import attrs
import structlog
import trio

from agentd.ari.client import AriClient, Resync, Route
from agentd.ari.events import ChannelDestroyed, DtmfReceived, PlaybackFinished, PlaybackStarted, StasisEnd, VarSet
from agentd.ari.rest import AriRest
from agentd.audio.formats import AudioFormat, Encoding
from agentd.audiosocket.connection import AudioSocketConnection
from agentd.audiosocket.listener import Admission, Expectation
from agentd.conversation.commands import Destination
from agentd.conversation.events import CallerEvent, CallerHungUp, DigitPressed, Left
from agentd.dialplan import MediaWay
from agentd.errors import AriError, AriRejected, MediaTimeout
from agentd.media.leg import LegKind, LineFormat

log = structlog.get_logger("agentd.channel")

UUID_VARIABLE = "AUDIOSOCKET_UUID"
TEARDOWN_DEADLINE = 8.0
"""Seconds that the removal of a leg may take in all; what is left then is removed at the next reconciliation."""
NOT_YET = (400, 409, 422)
"""Statuses of addChannel while the channel is still on its way into the application."""


@attrs.frozen
class MediaSettings:
    """How media legs are made. `external_host` is agentd's listener as Asterisk reaches it ("address:port")."""

    external_host: str
    fork_context: str = "ai-agent-media-fork"
    bind_timeout: float = 5.0


@attrs.define(eq=False)
class CallerChannel:
    """The caller's channel `id` and everything that agentd makes on the PBX for it.

    `on_playback` is told, while `next_event` is being waited for, how the channel's playbacks go; it must not block.
    """

    id: str
    client: AriClient
    route: Route
    admission: Admission
    media: MediaSettings
    line: LineFormat = attrs.field(factory=LineFormat)
    """What the legs carry. (A fork carries slin at 8 kHz: see agentd.audiosocket.wideband.)"""
    lost_means_hang_up: bool = False
    on_playback: Callable[[PlaybackStarted | PlaybackFinished], None] = lambda _event: None
    _leaving: bool = attrs.field(default=False, init=False)
    _fork: tuple[str, trio.Event] | None = attrs.field(default=None, init=False)
    _fork_uuid: str = attrs.field(default="", init=False)

    @property
    def audio_format(self) -> str:
        """Asterisk's name of what the legs carry."""
        return str(AudioFormat(Encoding.SLIN, self.line.rate))

    @property
    def rest(self) -> AriRest:
        return self.client.rest

    async def next_event(self) -> CallerEvent:
        """What happens to the caller next. For one reader, from the call's begin to its end.

        What Asterisk tells of our own channels and playbacks is dealt with meanwhile; where events were lost, Asterisk
        is asked whether the caller is still there.
        """
        while True:
            match event := await self.route.receive():
                case StasisEnd(channel) | ChannelDestroyed(channel) if channel.id == self.id:
                    return Left() if self._leaving else CallerHungUp()
                case DtmfReceived(channel, digit) if channel.id == self.id:
                    return DigitPressed(digit)
                case VarSet():
                    self._on_varset(event)
                case PlaybackStarted() | PlaybackFinished():
                    self.on_playback(event)
                case Resync() if not await self._exists():
                    return CallerHungUp()

    async def answer(self) -> None:
        """Answer the call and send silence, so that the caller's line carries audio from the first moment.

        Raises AriRejected when the channel is gone, AriUnavailable when Asterisk does not answer.
        """
        await self.rest.answer(self.id)
        await self.keep_silence()

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

    async def _exists(self) -> bool:
        """Whether Asterisk still has the channel; taken for granted where it does not answer."""
        try:
            return self.id in await self.rest.channels()
        except AriError as error:
            log.warning("cannot tell whether the channel lives", error=str(error))
            return True

    async def leave(self, result: str, destination: Destination | None = None) -> bool:
        """Go on in the dialplan with AGENTD_RESULT set; false if the channel was gone already.

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

    def _on_varset(self, event: VarSet) -> None:
        """Take note of the UUID that a fork's dialplan announces (AUDIOSOCKET_UUID)."""
        if self._fork and event.variable == UUID_VARIABLE and event.channel.id == self._fork[0]:
            self._fork_uuid = event.value.strip()
            self._fork[1].set()

    @asynccontextmanager
    async def media_leg(self, way: MediaWay, kind: LegKind) -> AsyncIterator[AudioSocketConnection]:
        """Bring up a media leg; gives its connection. Leaving the block removes all of the leg.

        Raises:
            MediaTimeout: no AudioSocket connection came within the bind timeout.
            AriError: Asterisk refused or did not answer.

        Cancelling it removes what was made so far; the removal is bounded in time.
        """
        uuid = uuid4()
        bridge, snoop, media, far = (self.client.leg_id(part, uuid.hex) for part in ("bridge", "snoop", "media", "far"))
        for part in (bridge, snoop, media, far):
            self.route.owns(part)
        connection: AudioSocketConnection | None = None
        started = trio.current_time()
        try:
            with self.admission.expect(uuid, self.line) as expectation:
                with trio.move_on_after(self.media.bind_timeout) as deadline:
                    await self.rest.create_bridge(bridge)
                    if kind is LegKind.LISTENING:
                        await self.rest.snoop(self.id, self.client.app, snoop)
                        await self._enter(bridge, snoop)
                    if way is MediaWay.EXTERNAL:
                        connection = await self._external(expectation, bridge, media, uuid)
                    else:
                        connection = await self._forked(expectation, bridge, media, far, uuid)
                    if kind is LegKind.STREAMING:
                        # Last: until the leg is there, the caller's line carries the silence of `answer`.
                        await self.rest.stop_silence(self.id)
                        await self.rest.add_to_bridge(bridge, self.id)
                if deadline.cancelled_caught or connection is None:
                    raise MediaTimeout(
                        f"no audio leg ({way}) within {self.media.bind_timeout:g} s: Asterisk connects to "
                        f"{self.media.external_host}; `agentd doctor` checks that way"
                    )
            log.info(
                "media leg bound",
                way=str(way),
                kind=str(kind),
                uuid=str(uuid),
                peer=connection.peer,
                after_ms=round((trio.current_time() - started) * 1000),
            )
            yield connection
        finally:
            if connection is not None:
                connection.release()
            with trio.move_on_after(TEARDOWN_DEADLINE, shield=True) as removal:
                await self._remove(bridge, snoop, media)
            if removal.cancelled_caught:
                log.warning("removing the media leg took too long", bridge=bridge, deadline_s=TEARDOWN_DEADLINE)
            for part in (bridge, snoop, media, far):
                self.route.disowns(part)

    async def _external(self, expectation: Expectation, bridge: str, media: str, uuid: UUID) -> AudioSocketConnection:
        await self.rest.external_media(media, self.client.app, self.media.external_host, str(uuid), self.audio_format)
        await self._enter(bridge, media)
        return await expectation.connection(self.media.bind_timeout)

    async def _forked(
        self, expectation: Expectation, bridge: str, media: str, far: str, uuid: UUID
    ) -> AudioSocketConnection:
        """The fork's dialplan uses its extension as the UUID (ours), or announces one of its own by VarSet."""
        announced = trio.Event()
        self._fork, self._fork_uuid = (far, announced), ""
        found: list[AudioSocketConnection] = []

        async def by_extension(scope: trio.CancelScope) -> None:
            found.append(await expectation.connection(self.media.bind_timeout))
            scope.cancel()

        async def by_announcement(scope: trio.CancelScope) -> None:
            await announced.wait()
            if (own := _canonical(self._fork_uuid)) is None:
                log.warning("the fork's dialplan announced a malformed UUID", value=self._fork_uuid[:64])
            elif own != uuid:
                log.info("the fork's dialplan chose its own UUID", uuid=str(own))
                with self.admission.expect(own, self.line) as other:
                    found.append(await other.connection(self.media.bind_timeout))
                    scope.cancel()

        spare = found
        try:
            with self.admission.expecting_unnamed():
                await self.rest.originate_local(media, far, self.client.app, uuid.hex, self.media.fork_context)
                await self._enter(bridge, media)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(by_extension, nursery.cancel_scope)
                    nursery.start_soon(by_announcement, nursery.cancel_scope)
            spare = found[1:]
        finally:
            self._fork = None
            for connection in spare:  # all of them where a hang-up came at the same moment
                connection.release()
        return found[0]

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
        for remove, part in (
            (self.rest.hang_up, media),
            (self.rest.hang_up, snoop),
            (self.rest.destroy_bridge, bridge),
        ):
            try:
                await remove(part)
            except AriError as error:
                log.warning("a part of the media leg could not be removed yet", part=part, error=str(error))


def _canonical(text: str) -> UUID | None:
    """A UUID in its canonical form of 36 characters, or None: Asterisk takes no other."""
    try:
        uuid = UUID(text)
    except ValueError:
        return None
    return uuid if len(text) == 36 else None
