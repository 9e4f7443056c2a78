"""The port of an Asterisk that is none: HTTP and the event stream, as Asterisk's own server speaks them.

What it answers is the PBX's (`_asterisk`).
"""

import base64
import json
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import h11
import trio
import wsproto
from wsproto import events as ws

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
class AriServer:
    """Answers whoever knows the password, and tells events to the client whose the application is."""

    app: str = "agentd"
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

    async def handle(self, request: Request) -> Answer:
        """What a request is answered with. Whoever inherits this is a PBX."""
        raise NotImplementedError

    async def media(self, stream: trio.SocketStream, head: bytes) -> None:
        """See a client of /media/ID through, of which `head` has come: a channel of chan_websocket's is there. Whoever
        inherits this and has such channels knows which."""
        raise NotImplementedError

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
            elif head.startswith(b"GET /media/"):
                await self.media(stream, head)
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
