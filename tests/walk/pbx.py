"""The switch of an Asterisk that is none: channels, their connections and their files, and the events that it tells.

It knows of each caller whether the application has them, the dialplan, or nobody any more. The facts are those of
Asterisk 22: res/res_stasis.c (who is subscribed to what; an application without a listener takes no channel),
res/res_stasis_playback.c (playbacks queue on a channel and end with its stay), apps/app_audiosocket.c,
res/stasis/stasis_bridge.c and `channel_replaced_cb` in res/res_stasis.c (who takes another's place).
"""

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import trio
import wsproto

from agentd.testing._asterisk import FakeAsterisk
from tests.walk.channels import PbxChannel, Place, PlayingFile, Sort
from tests.walk.datagrams import Datagrams
from tests.walk.faults import UNHARMED, How, Mishap
from tests.walk.phone import AudioSocketPeer, Caller, ConnectingPeer
from tests.walk.websocket_peer import Client

Ends = Callable[[], Caller | None]
"""Who is at the caller's end of a media channel now, if somebody is."""
BUILT_IN_SOUND = 0.5
"""Seconds that a sound of Asterisk's own lasts."""


@attrs.define(eq=False)
class Switch(FakeAsterisk):
    """`tell` is what becomes of an event: by default it is sent to all who listen."""

    nursery: trio.Nursery = attrs.field(init=False)
    datagrams: Datagrams = attrs.field(factory=Datagrams)
    pbx: dict[str, PbxChannel] = attrs.field(factory=dict)
    """Every channel that there is, by id."""
    rooms: set[str] = attrs.field(factory=set)
    """Bridges."""
    callers: dict[str, Caller] = attrs.field(factory=dict)
    ended: dict[str, Place] = attrs.field(factory=dict)
    """Where callers are who are not in the application."""
    subscriptions: set[str] = attrs.field(factory=set)
    """Channels whose events the application is told."""
    untold: deque[tuple[str, dict[str, Any]]] = attrs.field(factory=deque)
    told: trio.Event = attrs.field(factory=trio.Event)
    armed: bool = False
    websocket_client: Client = attrs.field(factory=Client)
    """What websocket_client.conf has."""
    extensions: set[str] = attrs.field(factory=set)
    """Extensions that there are, as "extension@context"."""

    # --- callers

    def arrive(self, channel: str, *arguments: str) -> Caller:
        """A caller comes to Stasis(agentd,arguments): without an application that listens the dialplan goes on."""
        caller = self.callers[channel] = Caller(channel)
        entered = PbxChannel(channel, f"PJSIP/{channel}", Sort.CALLER, Place.DIALPLAN, up=False)
        self.pbx[channel] = entered
        if self.sockets:
            entered.place = Place.STASIS
            self.subscriptions.add(channel)
            self.say("StasisStart", channel, args=list(arguments))
        return caller

    def arrive_headless(self, channel: str, uuid: UUID, host: str, port: int) -> Caller:
        """A caller comes to AudioSocket(uuid,host:port)."""
        caller = self.callers[channel] = Caller(channel)
        self.pbx[channel] = PbxChannel(channel, f"PJSIP/{channel}", Sort.CALLER, Place.DIALPLAN)
        self.nursery.start_soon(self._headless, self.pbx[channel], uuid, host, port)
        return caller

    async def _headless(self, channel: PbxChannel, uuid: UUID, host: str, port: int) -> None:
        caller = self.callers[channel.id]
        try:
            await self.connect(channel, self.audiosocket(channel, uuid, lambda: caller, lambda: caller), host, port)
        except OSError:
            channel.peer = None  # the application hangs up a channel that it cannot connect (app_audiosocket.c)
            self.vanish(channel.id)

    def hang_up(self, channel: str) -> None:
        """The caller hangs up."""
        if channel in self.pbx:
            self.say("ChannelHangupRequest", channel)
            self.vanish(channel)

    def attended_transfer(self, channel_id: str, successor: str) -> None:
        """Another channel takes the place of a caller's, which ends. Who speaks and hears is the
        same. One that takes a place in a bridge is a Local channel, with no dialplan of its own."""
        channel = self.pbx.get(channel_id)
        if channel is None or channel.place is not Place.STASIS:
            return
        caller = self.callers[successor] = self.callers[channel_id]
        caller.channel = successor
        name, extension = ("Local/_attended@transfer/m;1", "_attended") if channel.bridge else ("PJSIP/customer", "100")
        taking = PbxChannel(successor, name, Sort.CALLER, Place.STASIS, bridge=channel.bridge, extension=extension)
        self.pbx[successor] = taking
        self.subscriptions.add(successor)
        self.say("StasisStart", successor, args=[], replace_channel=self._model(channel))
        self.vanish(channel_id)

    def place_of(self, caller: str) -> Place:
        """Where a caller is."""
        return self.pbx[caller].place if caller in self.pbx else Place.GONE

    def hears_agentd(self, caller: str) -> bool:
        """Whether a caller has a line to agentd."""
        channel = self.pbx.get(caller)
        return channel is not None and channel.peer is not None

    # --- channels

    def make(self, channel: PbxChannel) -> None:
        """A channel is made for the application, which is told of it from now on."""
        self.pbx[channel.id] = channel
        self.subscriptions.add(channel.id)

    def admit(self, channel: PbxChannel) -> None:
        """A channel that was made for the application comes to be in it."""
        channel.place = Place.STASIS
        self.say("StasisStart", channel.id, args=[])

    def leave(self, channel: PbxChannel, place: Place) -> None:
        """A channel leaves the application, for the dialplan or for good: files end, then its bridge, then its stay."""
        for file in tuple(channel.playing):
            self._finish(channel, file, "failed")
        self.leave_bridge(channel)
        channel.silence = False
        before, channel.place = channel.place, place
        if before is Place.STASIS:
            self.say("StasisEnd", channel.id)
            if channel.sort is Sort.CALLER or place is Place.DIALPLAN:
                self.subscriptions.discard(channel.id)

    def vanish(self, channel_id: str) -> None:
        """A channel ends, and what cannot be without it: its connection, its other half, who spies on it."""
        channel = self.pbx.pop(channel_id, None)
        if channel is None:
            return
        if channel.place is Place.STASIS:
            self.pbx[channel_id] = channel
            self.leave(channel, Place.GONE)
            del self.pbx[channel_id]
        if channel_id in self.subscriptions:
            self.tell("ChannelDestroyed", {"channel": self._model(channel), "cause": 16})
            self.subscriptions.discard(channel_id)
        if channel.peer is not None:
            channel.peer.scope.cancel()
        if channel.twin is not None:
            self.vanish(channel.twin)
        for other in tuple(self.pbx.values()):
            if other.spied == channel_id:
                self.vanish(other.id)

    def leave_bridge(self, channel: PbxChannel) -> None:
        """A channel is in its bridge no more."""
        if channel.bridge is not None:
            left, channel.bridge = channel.bridge, None
            self.say("ChannelLeftBridge", channel.id, bridge=self.bridge_model(left))

    async def connect(
        self, channel: PbxChannel, carry: Callable[[Mishap], ConnectingPeer], host: str, port: int
    ) -> Mishap:
        """Have a peer carry a channel's audio to and from this address; `carry` makes it. Raises OSError where it
        cannot; gives what happens to it."""
        mishap = self.mishap()
        if mishap.after >= 0 or mishap.how is not How.HANGS:
            channel.peer = peer = carry(mishap)
            await self.nursery.start(peer.run, host, port)
        return mishap

    def audiosocket(
        self, channel: PbxChannel, uuid: UUID, mouth: Ends, ear: Ends
    ) -> Callable[[Mishap], ConnectingPeer]:
        """A connection that opens with this UUID."""
        return lambda mishap: AudioSocketPeer(uuid, mouth, ear, lambda: self._disconnected(channel), mishap)

    def mishap(self) -> Mishap:
        """What happens to a media leg that is made now."""
        return UNHARMED

    def _disconnected(self, channel: PbxChannel) -> None:
        """agentd has closed the connection: an AudioSocket channel hangs up, AudioSocket() in the dialplan returns."""
        channel.peer = None
        if channel.sort is not Sort.CALLER:
            self.vanish(channel.id)

    def mouth(self, media: PbxChannel) -> Caller | None:
        """Whose voice goes to a media channel: the caller's in its bridge, or the one's on whom a snoop spies there."""
        for other in self._others(media):
            if other.sort is Sort.SNOOP and other.spied is not None:
                return self.callers.get(other.spied)
            if other.sort is Sort.CALLER:
                return self.callers[other.id]
        return None

    def ear(self, media: PbxChannel) -> Caller | None:
        """Who hears what comes over a media channel."""
        for other in self._others(media):
            if other.sort is Sort.CALLER:
                return self.callers[other.id]
        return None

    def _others(self, media: PbxChannel) -> list[PbxChannel]:
        near = self.pbx.get(media.twin) if media.twin is not None else media
        if near is None or near.bridge is None:
            return []
        return [other for other in self.pbx.values() if other.bridge == near.bridge and other is not near]

    def bridge_model(self, bridge: str) -> dict[str, Any]:
        """A bridge as ARI tells it."""
        members = [channel.id for channel in self.pbx.values() if channel.bridge == bridge]
        return {
            "id": bridge,
            "name": bridge,
            "bridge_type": "mixing",
            "technology": "simple_bridge",
            "channels": members,
        }

    # --- events

    def say(self, kind: str, channel: str, **fields: Any) -> None:
        """Tell an event of a channel, where the application is subscribed to it."""
        if channel in self.subscriptions and channel in self.pbx:
            self.tell(kind, {"channel": self._model(self.pbx[channel]), **fields})

    def tell(self, kind: str, fields: dict[str, Any]) -> None:
        """Have an event sent, after those before it."""
        self.untold.append((kind, fields))
        self.told.set()

    async def send_events(self) -> None:
        """Send events until cancelled, in order."""
        while True:
            while not self.untold:
                self.told = trio.Event()
                await self.told.wait()
            kind, fields = self.untold.popleft()
            await self.deliver(kind, fields)

    async def deliver(self, kind: str, fields: dict[str, Any]) -> None:
        """Send one event to all who listen."""
        try:
            await self.push(kind, **fields)
        except (trio.BrokenResourceError, trio.ClosedResourceError, wsproto.utilities.LocalProtocolError):
            pass  # who does not listen any more is told nothing

    def _model(self, channel: PbxChannel) -> dict[str, Any]:
        stasis = channel.place is Place.STASIS
        return {
            "id": channel.id,
            "name": channel.name,
            "state": "Up" if channel.up else "Ring",
            "caller": {"name": "Alice", "number": "100"},
            "connected": {"name": "", "number": ""},
            "dialplan": {
                "context": "default",
                "exten": channel.extension,
                "priority": 1,
                "app_name": "Stasis" if stasis else "Wait",
                "app_data": self.app if stasis else "",
            },
            "creationtime": "2026-01-01T00:00:00.000+0000",
        }

    # --- files

    def _play(self, channel: PbxChannel, playback: str, media: str) -> None:
        channel.silence = False
        channel.playing.append(PlayingFile(playback, media, _length(media)))
        if len(channel.playing) == 1:
            self._begin(channel)

    def _begin(self, channel: PbxChannel) -> None:
        if not channel.playing:
            return
        file = channel.playing[0]
        file.started = True
        self._tell_playback("PlaybackStarted", channel, file, "playing")
        if file.left < 0:
            self._finish(channel, file, "failed")
            return
        if (caller := self.callers.get(channel.id)) is not None:
            caller.files_playing += 1
        self.nursery.start_soon(self._run, channel, file)

    async def _run(self, channel: PbxChannel, file: PlayingFile) -> None:
        caller = self.callers.get(channel.id)
        with file.scope:
            while file.left > 0:
                began, paused = trio.current_time(), file.paused
                file.changed = trio.Event()
                with trio.move_on_after(math.inf if paused else file.left):
                    await file.changed.wait()
                if not paused:
                    passed = trio.current_time() - began
                    file.left = max(file.left - passed, 0.0) if passed < file.left - 1e-9 else 0.0
                    if caller is not None and file.media.startswith("sound:/"):
                        caller.hear_file(passed)
        self._finish(channel, file, "done")

    def _finish(self, channel: PbxChannel, file: PlayingFile, state: str) -> None:
        if file not in channel.playing:
            return
        first = channel.playing[0] is file
        channel.playing.remove(file)
        if file.started and file.left >= 0 and (caller := self.callers.get(channel.id)) is not None:
            caller.files_playing -= 1
        file.scope.cancel()
        self._tell_playback("PlaybackFinished", channel, file, state)
        if first and channel.place is Place.STASIS and state != "failed":
            self._begin(channel)

    def _tell_playback(self, kind: str, channel: PbxChannel, file: PlayingFile, state: str) -> None:
        if channel.id in self.subscriptions:
            model = {"id": file.id, "media_uri": file.media, "target_uri": f"channel:{channel.id}", "state": state}
            self.tell(kind, {"playback": model})

    def _playback(self, playback: str) -> tuple[PbxChannel, PlayingFile] | None:
        for channel in self.pbx.values():
            for file in channel.playing:
                if file.id == playback:
                    return channel, file
        return None


def _length(media: str) -> float:
    """Seconds that a file lasts; less than 0 where there is none."""
    if not media.startswith("sound:/"):
        return BUILT_IN_SOUND
    path = Path(f"{media.removeprefix('sound:')}.sln")
    return path.stat().st_size / 16000 if path.exists() else -1.0
