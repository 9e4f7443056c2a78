"""An Asterisk that is none: its ARI as far as agentd speaks it, in memory or on a real socket.

It keeps what a PBX would keep (channels, bridges, playbacks, variables), so that a test can ask what is left of
a call. Rules make it slow, broken, refusing or mad, one request or all of them.
"""

import base64
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import h11
import httpx
import trio
import wsproto
from wsproto import events as ws

from agentd.ari.rest import AriRest
from agentd.metrics import Metrics

USER, PASSWORD = "agentd", "s3cret-of-ari"


@attrs.frozen
class Request:
    """One request as it came; `path` is below /ari, percent-encoding undone."""

    method: str
    path: str
    params: dict[str, str] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@attrs.frozen
class Answer:
    """The answers that it gives. `drop`: nothing at all, the connection is closed instead."""

    status: int = 204
    body: bytes = b""
    drop: bool = False

    @classmethod
    def json(cls, value: object, status: int = 200) -> "Answer":
        return cls(status, json.dumps(value).encode())

    @classmethod
    def refusal(cls, status: int, message: str) -> "Answer":
        return cls.json({"message": message}, status)


Act = Callable[[Request], Awaitable[Answer | None]]


@attrs.define
class Rule:
    """Requests that match `pattern` ("POST /channels/*/answer") are answered by `act` first, `times` times."""

    pattern: str
    act: Act | Answer
    times: int | None = None


@attrs.define(eq=False)
class EventSocket:
    """One client of the event stream."""

    stream: trio.abc.Stream
    protocol: wsproto.WSConnection
    mute: bool = False
    lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def send(self, event: wsproto.events.Event) -> None:
        async with self.lock:
            await self.stream.send_all(self.protocol.send(event))


@attrs.define(eq=False)
class FakeAsterisk:
    """`rest()` gives a client in memory; `serve` opens a real port for HTTP and the event stream."""

    app: str = "agentd"
    channels: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    in_app: set[str] = attrs.field(factory=set)
    bridges: dict[str, set[str]] = attrs.field(factory=dict)
    playbacks: dict[str, str] = attrs.field(factory=dict)
    """Running playbacks: id -> media."""
    stopped: list[str] = attrs.field(factory=list)
    paused: set[str] = attrs.field(factory=set)
    """Playbacks that are paused."""
    silent: set[str] = attrs.field(factory=set)
    """Channels that silence is sent to."""
    variables: dict[str, dict[str, str]] = attrs.field(factory=dict)
    native_format: str = "(ulaw)"
    """CHANNEL(audionativeformat) of every channel."""
    version: str = "22.10.1"
    continued: list[str] = attrs.field(factory=list)
    went_to: dict[str, str] = attrs.field(factory=dict)
    """Where channels went on that were sent to a place of the dialplan: "extension@context"."""
    dialplan: set[str] = attrs.field(factory=set)
    """The extensions that there are, as "extension@context"."""
    pressed: dict[str, str] = attrs.field(factory=dict)
    """DTMF that was sent to channels."""
    subscribed: list[str] = attrs.field(factory=list)
    requests: list[Request] = attrs.field(factory=list)
    rules: list[Rule] = attrs.field(factory=list)
    on_media: Callable[[str, Request], None] = lambda uuid, request: None
    """Asterisk opens the AudioSocket connection while it handles externalMedia (or originates a fork)."""
    sockets: list[EventSocket] = attrs.field(factory=list)
    owner: EventSocket | None = None
    """The event socket whose the application is: the last one that asked for it."""
    served: bool = False
    """It has a real port: the application exists while somebody owns it, or callers are in it."""
    connections: int = 0
    """Event sockets opened so far."""
    reject_events: int = 0
    """HTTP status that the event stream is refused with; 0: it is accepted."""
    mute: bool = False
    """Event sockets answer no ping and no close."""
    pongs: int = 0
    received: list[str] = attrs.field(factory=list)
    """Text messages that came over event sockets."""

    def enter(self, channel: str, name: str = "PJSIP/alice-1") -> None:
        """A channel that is in our application."""
        dialplan = {"context": "from-internal", "exten": "7000", "app_name": "Stasis", "app_data": self.app}
        self.channels[channel] = {"id": channel, "name": name, "state": "Up", "dialplan": dialplan}
        self.in_app.add(channel)

    def gone_on(self, channel: str) -> None:
        """A channel leaves our application for some other place of the dialplan."""
        self._leave_app(channel)

    def gone(self, channel: str) -> None:
        """A channel ends."""
        self.channels.pop(channel, None)
        self.silent.discard(channel)
        self._leave_app(channel)

    def _leave_app(self, channel: str) -> None:
        self.in_app.discard(channel)
        if channel in self.channels:
            self.channels[channel]["dialplan"].update(app_name="AppDial", app_data="")
        for members in self.bridges.values():
            members.discard(channel)

    def rule(self, pattern: str, act: Act | Answer, times: int | None = None) -> None:
        """Answer matching requests differently from now on; the newest rule goes first."""
        self.rules.insert(0, Rule(pattern, act, times))

    def slow(self, pattern: str, seconds: float, times: int | None = None) -> None:
        """Matching requests take a while."""

        async def wait(_request: Request) -> None:
            await trio.sleep(seconds)

        self.rule(pattern, wait, times)

    def asked(self, pattern: str = "*") -> list[str]:
        """The requests that match, as "METHOD /path", in the order in which they came."""
        return [str(request) for request in self.requests if fnmatchcase(str(request), pattern)]

    async def handle(self, request: Request) -> Answer:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        for rule in tuple(self.rules):
            if not fnmatchcase(str(request), rule.pattern) or rule.times == 0:
                continue
            if rule.times is not None:
                rule.times -= 1
            answer = rule.act if isinstance(rule.act, Answer) else await rule.act(request)
            if answer is not None:
                return answer
        answer = self._obey(request)
        if answer.status < 300 and (event := request.path.partition("/events/user/")[2]):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.push("ChannelUserevent", eventname=event, userevent={"eventname": event})
        return answer

    @property
    def registered(self) -> bool:
        """Whether the application exists. One that callers are in outlives its program: `app_is_finished` in Asterisk
        22 res/stasis/app.c."""
        return not self.served or self.owner is not None or bool(self.in_app)

    def _obey(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")
        match (request.method, *parts):
            case ("GET", "channels"):
                return Answer.json(list(self.channels.values()))
            case ("GET", "bridges"):
                return Answer.json([{"id": bridge, "channels": []} for bridge in self.bridges])
            case ("POST", "events", "user", _) if self.registered and request.params["application"] == self.app:
                return Answer()
            case ("GET", "applications", app):
                if app != self.app or not self.registered:
                    return Answer.refusal(404, "Application not found")
                return Answer.json({"name": app, "channel_ids": sorted(self.in_app)})
            case ("GET", "asterisk", "info"):
                return Answer.json({"system": {"version": self.version}})
            case ("POST", "applications", _, "subscription"):
                self.subscribed.append(request.params["eventSource"])
                return Answer.json({})
            case ("POST", "channels"):
                for half in ("channelId", "otherChannelId"):
                    self.enter(request.params[half], f"Local/{half}")
                self.gone_on(request.params["otherChannelId"])
                self.on_media(request.params["endpoint"].partition("/")[2].partition("@")[0], request)
                return Answer.json({})
            case ("POST", "channels", "externalMedia"):
                self.enter(request.params["channelId"], "AudioSocket/media")
                self.on_media(request.params.get("data", ""), request)
                return Answer.json({})
            case ("POST", "bridges", bridge):
                self.bridges[bridge] = set()
                return Answer.json({})
            case ("POST", "bridges", bridge, "addChannel"):
                if request.params["channel"] not in self.channels:
                    return Answer.refusal(400, "Channel not found")
                self.bridges[bridge].add(request.params["channel"])
                return Answer()
            case ("DELETE", "bridges", bridge) if bridge in self.bridges:
                del self.bridges[bridge]
                return Answer()
            case ("GET", "playbacks", playback) if playback in self.playbacks:
                return Answer.json({"id": playback, "state": "playing"})
            case ("DELETE", "playbacks", playback) if playback in self.playbacks:
                del self.playbacks[playback]
                self.stopped.append(playback)
                return Answer()
            case ("POST", "playbacks", playback, "control") if playback in self.playbacks:
                change = self.paused.add if request.params["operation"] == "pause" else self.paused.discard
                change(playback)
                return Answer()
            case ("GET", "channels", channel, "variable") if channel in self.channels:
                return Answer.json({"value": self._variable(channel, request.params["variable"])})
            case ("DELETE", "channels", channel, "silence") if channel in self.channels:
                self.silent.discard(channel)
                return Answer()
            case ("DELETE", "channels", channel) if channel in self.channels:
                self.gone(channel)
                self.gone(channel.replace("-media-", "-far-"))
                return Answer()
            case ("POST", "channels", channel, *action) if channel in self.channels:
                return self._act_on(channel, action, request)
        return Answer.refusal(404, f"{request.path} not found")

    def _variable(self, channel: str, name: str) -> str:
        if name == "CHANNEL(audionativeformat)":
            return self.native_format
        if asked := re.fullmatch(r"DIALPLAN_EXISTS\(([^,]*),([^,]*),1\)", name):
            return str(int(f"{asked[2]}@{asked[1]}" in self.dialplan))
        return self.variables.get(channel, {}).get(name, "")

    def _act_on(self, channel: str, action: list[str], request: Request) -> Answer:
        match action:
            case ["answer"]:
                return Answer()
            case ["silence"]:
                self.silent.add(channel)
                return Answer()
            case ["variable"]:
                self.variables.setdefault(channel, {})[request.params["variable"]] = request.params["value"]
                return Answer()
            case ["continue" | "dtmf"] if channel not in self.in_app:
                return Answer.refusal(409, "Channel not in Stasis application")
            case ["dtmf"]:
                self.pressed[channel] = self.pressed.get(channel, "") + request.params["dtmf"]
                return Answer()
            case ["continue"]:
                if request.params:
                    assert request.params["priority"] == "1"
                    self.went_to[channel] = f"{request.params['extension']}@{request.params['context']}"
                self._leave_app(channel)
                self.continued.append(channel)
                return Answer()
            case ["snoop", snoop]:
                self.enter(snoop, "Snoop/1")
                return Answer.json({})
            case ["play", playback]:
                self.playbacks[playback] = request.params["media"]
                self.silent.discard(channel)
                return Answer.json({}, 201)
        return Answer.refusal(404, f"{request.path} not found")

    # --- in memory

    def rest(self, metrics: Metrics, deadline: float = 5.0) -> AriRest:
        async def respond(request: httpx.Request) -> httpx.Response:
            path = unquote(request.url.raw_path.decode().partition("?")[0]).removeprefix("/ari")
            answer = await self.handle(Request(request.method, path, dict(request.url.params)))
            if answer.drop:
                raise httpx.ReadError("the connection was closed", request=request)
            return httpx.Response(answer.status, content=answer.body)

        client = httpx.AsyncClient(base_url="http://asterisk.test", transport=httpx.MockTransport(respond))
        return AriRest(client, metrics, deadline)

    # --- on a real port

    async def serve(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on a port of its own; `started` gives the URL."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.served = True
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._connection, listeners)
            task_status.started(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")

    async def push(self, kind: str, **fields: object) -> None:
        """Send an event to the client whose the application is."""
        await self.push_text(json.dumps({"type": kind, "application": self.app, **fields}))

    async def push_text(self, text: str) -> None:
        if self.owner is not None:
            await self.owner.send(ws.TextMessage(data=text))

    async def cut_events(self) -> None:
        """Close the event sockets without a word, as a crash does."""
        for socket in tuple(self.sockets):
            await trio.aclose_forcefully(socket.stream)

    async def _connection(self, stream: trio.SocketStream) -> None:
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some(65536)
                if not data:
                    return
                head += data
            if head.startswith(b"GET /ari/events"):
                await self._events(stream, head)
            else:
                await self._http(stream, head)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass  # the client went away, as clients may

    async def _http(self, stream: trio.SocketStream, data: bytes) -> None:
        protocol = h11.Connection(h11.SERVER)
        protocol.receive_data(data)
        request: h11.Request | None = None
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                answer = await self._respond(request)
                if answer.drop:
                    return
                length = [("content-length", str(len(answer.body)))]
                await stream.send_all(
                    (protocol.send(h11.Response(status_code=answer.status, headers=length)) or b"")
                    + (protocol.send(h11.Data(data=answer.body)) or b"")
                    + (protocol.send(h11.EndOfMessage()) or b"")
                )
                protocol.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return

    async def _respond(self, raw: h11.Request) -> Answer:
        if dict(raw.headers).get(b"authorization", b"").decode() != basic_authorization():
            return Answer.refusal(401, "Authentication required")
        target = urlsplit(raw.target.decode())
        path = unquote(target.path).removeprefix("/ari")
        return await self.handle(Request(raw.method.decode(), path, dict(parse_qsl(target.query))))

    async def _events(self, stream: trio.SocketStream, data: bytes) -> None:
        socket = EventSocket(stream, wsproto.WSConnection(wsproto.ConnectionType.SERVER), self.mute)
        socket.protocol.receive_data(data)
        try:
            while True:
                for event in socket.protocol.events():
                    await self._on_event(socket, event)
                    if isinstance(event, ws.CloseConnection) and not socket.mute:
                        return
                data = await stream.receive_some(65536)
                if not data:
                    return
                socket.protocol.receive_data(data)
        except wsproto.utilities.LocalProtocolError:
            pass  # it is closed already
        finally:
            if socket in self.sockets:
                self.sockets.remove(socket)
            if socket is self.owner:
                self.owner = None

    async def _on_event(self, socket: EventSocket, event: wsproto.events.Event) -> None:
        match event:
            case ws.Request() if self.reject_events:
                await socket.send(ws.RejectConnection(status_code=self.reject_events))
            case ws.Request():
                await socket.send(ws.AcceptConnection())
                await self.push("ApplicationReplaced")
                self.owner = socket
                self.sockets.append(socket)
                self.connections += 1
            case ws.Pong():
                self.pongs += 1
            case ws.TextMessage(data=text):
                self.received.append(text)
            case ws.Ping() | ws.CloseConnection() if not socket.mute:
                await socket.send(event.response())


def basic_authorization(user: str = USER, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
