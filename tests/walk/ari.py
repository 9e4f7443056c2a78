"""The requests of ARI to an Asterisk that is none, and that is strict: it refuses what the real one would.

Source: Asterisk 22 res/ari/resource_channels.c, resource_bridges.c, resource_playbacks.c and resource_applications.c
(which request is refused with which status), res/res_stasis_snoop.c.
"""

from functools import partial
from uuid import UUID

import attrs
import trio

from agentd.testing._ari_server import Answer, Request
from tests.walk.carriages import CARRIAGES
from tests.walk.channels import PbxChannel, Place, Sort
from tests.walk.pbx import Switch
from tests.walk.websocket_peer import answer_client

NOT_OURS = Answer.refusal(409, "Channel not in Stasis application")


@attrs.define(eq=False)
class Pbx(Switch):
    """A switch with its REST interface. A request that it has not learnt fails the life."""

    fork_port: int = 8090
    """Where the dialplan's fork connects to."""

    async def carry_out(self, request: Request) -> Answer:
        """Do what is asked, or refuse it as Asterisk does."""
        parts = request.path.strip("/").split("/")
        match (request.method, *parts):
            case ("POST", "channels", "externalMedia"):
                return await self._external_media(request)
            case ("POST", "channels"):
                return await self._originate(request)
            case (_, "channels", *rest):
                return self._on_channels(request, rest)
            case (_, "bridges", *rest):
                return self._on_bridges(request, rest)
            case (_, "playbacks", playback, *rest):
                return self._on_playback(request, playback, rest)
            case (_, "applications", app, *rest):
                return self._on_application(request, app, rest)
            case ("POST", "events", "user", name):
                if not self.sockets or request.params.get("application") != self.app:
                    return Answer.refusal(404, "Application not found")
                self.tell("ChannelUserevent", {"eventname": name, "userevent": {}})
                return Answer()
            case ("GET", "asterisk", "info"):
                return Answer.json({"system": {"version": self.version}})
            case ("GET", "asterisk", "ping"):
                return Answer.json({"ping": "pong", "asterisk_id": "00:00:00:00:00:00"})
        raise AssertionError(f"this Asterisk has not learnt {request}")

    def _on_channels(self, request: Request, rest: list[str]) -> Answer:
        if not rest:
            assert request.method == "GET", request
            return Answer.json([self._model(channel) for channel in self.pbx.values()])
        channel = self.pbx.get(rest[0])
        if channel is None:
            return Answer.refusal(404, "Channel not found")
        match (request.method, *rest[1:]):
            case ("GET",):
                return Answer.json(self._model(channel))
            case ("DELETE",):
                self.vanish(channel.id)
                return Answer()
            case ("GET", "variable"):
                return self._variable_of(channel, request.params["variable"])
            case _ if channel.place is not Place.STASIS:
                return NOT_OURS
        return self._on_ours(channel, request, rest[1:])

    def _on_ours(self, channel: PbxChannel, request: Request, action: list[str]) -> Answer:
        match (request.method, *action):
            case ("POST", "answer"):
                channel.up = True
                self.say("ChannelStateChange", channel.id)
            case ("POST", "silence"):
                channel.silence = True
            case ("DELETE", "silence"):
                channel.silence = False
            case ("POST", "variable"):
                name, value = request.params["variable"], request.params.get("value", "")
                channel.variables[name] = value
                self.say("ChannelVarset", channel.id, variable=name, value=value)
            case ("POST", "continue"):
                self.leave(channel, Place.DIALPLAN)
                if channel.sort is not Sort.CALLER:  # there is nothing for it to go on with
                    self.vanish(channel.id)
            case ("POST", "dtmf"):
                pass
            case ("POST", "play", playback):
                self._play(channel, playback, request.params["media"])
                return Answer.json({"id": playback}, 201)
            case ("POST", "snoop", snoop):
                self._made(PbxChannel(snoop, f"Snoop/{snoop}", Sort.SNOOP, Place.DIALPLAN, spied=channel.id))
                return Answer.json({"id": snoop})
            case _:
                raise AssertionError(f"this Asterisk has not learnt {request}")
        return Answer()

    def _variable_of(self, channel: PbxChannel, name: str) -> Answer:
        if channel.place is not Place.STASIS:
            return NOT_OURS
        if name == "CHANNEL(audionativeformat)":
            return Answer.json({"value": self.native_format})
        if name.startswith("DIALPLAN_EXISTS("):
            context, extension, _priority = name.removeprefix("DIALPLAN_EXISTS(").rstrip(")").split(",")
            return Answer.json({"value": str(int(f"{extension}@{context}" in self.extensions))})
        if name not in channel.variables:
            return Answer.refusal(404, "Provided variable was not found")
        return Answer.json({"value": channel.variables[name]})

    def _made(self, channel: PbxChannel) -> None:
        """A channel is made for the application, and is in it at once."""
        self.make(channel)
        self.admit(channel)

    async def media(self, stream: trio.SocketStream, head: bytes) -> None:
        """See AriServer."""
        await answer_client(stream, head, [channel.peer for channel in self.pbx.values()])

    async def _external_media(self, request: Request) -> Answer:
        asked = request.params
        carriage = CARRIAGES.get((asked["encapsulation"], asked["transport"], asked.get("connection_type", "")))
        if carriage is None:
            return Answer.refusal(501, "The encapsulation and/or transport is not supported")
        media = PbxChannel(asked["channelId"], carriage.channel, Sort.MEDIA, Place.DIALPLAN)
        if media.id in self.pbx:
            return Answer.refusal(409, "Channel with given unique ID already exists")
        try:
            media.variables |= await carriage.bring(self, media, asked)
        except OSError:
            return Answer.refusal(500, "Allocation failed")
        if carriage.waits:
            self.make(media)
        else:
            self._made(media)
        return Answer.json({"id": media.id, "channelvars": media.variables})

    async def _originate(self, request: Request) -> Answer:
        """A pair of Local channels: half ;1 enters the application, half ;2 runs AudioSocket() in the dialplan."""
        near_id, far_id = request.params["channelId"], request.params["otherChannelId"]
        if near_id in self.pbx or far_id in self.pbx:
            return Answer.refusal(409, "Channel with given unique ID already exists")
        extension = request.params["endpoint"].removeprefix("Local/").partition("@")[0]
        near = PbxChannel(near_id, "Local/fork;1", Sort.MEDIA, Place.DIALPLAN, twin=far_id)
        far = PbxChannel(far_id, "Local/fork;2", Sort.FAR_HALF, Place.DIALPLAN, twin=near_id)
        self.make(far)
        self._made(near)
        self.nursery.start_soon(self._fork, far, UUID(extension))
        return Answer.json({"id": near_id})

    async def _fork(self, far: PbxChannel, uuid: UUID) -> None:
        self.say("ChannelVarset", far.id, variable="AUDIOSOCKET_UUID", value=str(uuid))
        peer = self.audiosocket(far, uuid, partial(self.mouth, far), partial(self.ear, far))
        try:
            await self.connect(far, peer, "127.0.0.1", self.fork_port)
        except OSError:
            self.vanish(far.id)

    def _on_bridges(self, request: Request, rest: list[str]) -> Answer:
        if not rest:
            return Answer.json([self.bridge_model(bridge) for bridge in self.rooms])
        bridge = rest[0]
        if request.method == "POST" and len(rest) == 1:
            self.rooms.add(bridge)
            return Answer.json(self.bridge_model(bridge))
        if bridge not in self.rooms:
            return Answer.refusal(404, "Bridge not found")
        match (request.method, *rest[1:]):
            case ("GET",):
                return Answer.json(self.bridge_model(bridge))
            case ("DELETE",):
                self.rooms.discard(bridge)
                for channel in self.pbx.values():
                    if channel.bridge == bridge:
                        self.leave_bridge(channel)
            case ("POST", "addChannel"):
                added = self.pbx.get(request.params["channel"])
                if added is None:
                    return Answer.refusal(400, "Channel not found")
                if added.place is not Place.STASIS:
                    return Answer.refusal(422, "Channel not in Stasis application")
                self.leave_bridge(added)
                added.bridge = bridge
            case _:
                raise AssertionError(f"this Asterisk has not learnt {request}")
        return Answer()

    def _on_playback(self, request: Request, playback: str, rest: list[str]) -> Answer:
        found = self._playback(playback)
        if found is None:
            return Answer.refusal(404, "Playback not found")
        channel, file = found
        match (request.method, *rest):
            case ("GET",):
                return Answer.json({"id": playback, "state": "playing" if file.started else "queued"})
            case ("DELETE",):
                self._finish(channel, file, "done")
            case ("POST", "control"):
                if not file.started:
                    return Answer.refusal(409, "The operation cannot be performed in the playback's current state")
                file.paused = request.params["operation"] == "pause"
                file.changed.set()
            case _:
                raise AssertionError(f"this Asterisk has not learnt {request}")
        return Answer()

    def _on_application(self, request: Request, app: str, rest: list[str]) -> Answer:
        if app != self.app or not (self.sockets or self.subscriptions):
            return Answer.refusal(404, "Application not found")
        match (request.method, *rest):
            case ("GET",):
                return Answer.json({"name": app, "channel_ids": sorted(self.subscriptions), "bridge_ids": []})
            case ("POST" | "DELETE", "subscription"):
                kind, _, source = request.params["eventSource"].partition(":")
                if kind != "channel" or source not in self.pbx:
                    return Answer.refusal(422, "Event source does not exist")
                (self.subscriptions.add if request.method == "POST" else self.subscriptions.discard)(source)
                return Answer.json({"name": app})
            case _:
                raise AssertionError(f"this Asterisk has not learnt {request}")

    async def handle(self, request: Request) -> Answer:
        """See FakeAsterisk."""
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        return await self.carry_out(request)
