"""Asterisk's end of a media leg that comes by chan_websocket: a channel and its WebSocket, whoever opens that.

The facts are those of Asterisk 22: channels/chan_websocket.c (`incoming_ws_http_callback`: 404 for an id that is none,
409 for a second connection; `websocket_handoff_to_channel`: MEDIA_START, and the channel is answered;
`read_from_ws_and_queue`: the channel ends with its WebSocket; `webchan_hangup`: the WebSocket with its channel;
`webchan_call`: where Asterisk connects, it does so before the request is answered, and there is no channel where it
cannot), and res/ari/resource_channels.c (a channel that is not answered for 30 s ends). The channel itself, its queue
and its commands, is tests.shell.media.chan_websocket_lines.Channel.
"""

import base64
import json
from collections.abc import Callable, Iterable
from itertools import count
from uuid import uuid4

import attrs
import trio
import wsproto
from wsproto import events as ws
from wsproto.connection import ConnectionState

from agentd.chan_websocket.transport import SUBPROTOCOL
from tests.shell.media.chan_websocket_lines import Channel
from tests.walk.faults import HANGS_SECONDS, UNHARMED, How, Mishap
from tests.walk.network import VirtualSocket
from tests.walk.phone import FRAME, Caller, MediaPeer

ANSWERED_WITHIN = 30.0
"""Seconds in which agentd has to connect."""
NORMAL = 1000
"""With what an Asterisk closes whose channel ends."""
START, MARK = "MEDIA_START", "MEDIA_MARK_PROCESSED"


@attrs.frozen
class Client:
    """A connection of websocket_client.conf: the one by which Asterisk comes to agentd."""

    name: str = "agentd"
    port: int = 8091
    username: str = "asterisk"
    password: str = "open sesame"


@attrs.define(eq=False)
class WebSocketPeer:
    """One leg's end. `mouth` is the caller whose voice it sends, asked every 20 ms, and `ear` the one who hears what is
    played; `enter` takes its channel into the application, `hang_up` ends it. Audio is 8 kHz slin."""

    channel: Channel
    mouth: Callable[[], Caller | None]
    ear: Callable[[], Caller | None]
    enter: Callable[[], None]
    hang_up: Callable[[], None]
    mishap: Mishap = UNHARMED
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    connection_id: str = attrs.field(factory=lambda: str(uuid4()))
    open: bool = False
    """agentd is connected, or has been."""
    _end: VirtualSocket = attrs.field(init=False)
    _protocol: wsproto.WSConnection = attrs.field(init=False)
    _pieces: list[str | bytes] = attrs.field(factory=list, init=False)
    """What has come of a message."""
    _age: float = 0.0
    _started: bool = False
    _misspoke: bool = False

    def __attrs_post_init__(self) -> None:
        self.channel.tell = self._tell

    async def wait(self) -> None:
        """End the channel where nobody connects in time."""
        await trio.sleep(ANSWERED_WITHIN)
        if not self.open:
            self.hang_up()

    async def serve(self, stream: trio.SocketStream, protocol: wsproto.WSConnection) -> None:
        """Carry audio over the WebSocket that is asked for, until one of the two ends it. The channel ends with it."""
        assert isinstance(stream.socket, VirtualSocket)
        self._end, self._protocol = stream.socket, protocol
        with self.scope:
            if self.mishap.due(How.HANGS, -1.0):
                await trio.sleep(HANGS_SECONDS)
            if not self.mishap.due(How.DROPPED, -1.0):
                self.open = True
                self._send(ws.AcceptConnection(subprotocol=SUBPROTOCOL))
                await self._carry()
        self._close()

    def _close(self) -> None:
        if self._protocol.state is ConnectionState.OPEN and not self.mishap.due(How.DROPPED, self._age):
            self._send(ws.CloseConnection(NORMAL))
        if self.open:
            self.hang_up()

    async def _carry(self) -> None:
        """Both ways by one clock: what has come is read when the next frame is sent."""
        start = trio.current_time()
        for tick in count(1):
            if not self._tick():
                return
            await trio.sleep_until(start + tick * FRAME)
            self._age = tick * FRAME

    def _tick(self) -> bool:
        """Whether it goes on."""
        due, age = self.mishap.due, self._age
        if self._end.over or due(How.DIES, age) or due(How.DROPPED, age):
            return False
        if due(How.HANGS, age) and age < self.mishap.after + HANGS_SECONDS:
            return True
        if not self._started:
            self._started = True
            self.channel.start()
            self.enter()
        self._misspeak()
        if not due(How.DEAF, age) and not self._listen():
            return False
        frame, hearer, speaker = self.channel.tick(), self.ear(), self.mouth()
        if frame is not None and hearer is not None:
            hearer.hear(frame)
        if speaker is not None:
            said = speaker.next_frame()
            if not due(How.SILENT, age):
                self._send(ws.BytesMessage(said))
        return not self.channel.hung_up

    def _misspeak(self) -> None:
        """Tell, once, what there is no reason for."""
        if self._misspoke:
            return
        if self.mishap.due(How.ERROR, self._age):
            self._misspoke = True
            self.channel.tell_event("ERROR", error_text="refused on purpose")
        elif self.mishap.due(How.STOPPED, self._age):
            self._misspoke = True
            self.channel.tell_event("MEDIA_XOFF")

    def _listen(self) -> bool:
        """Do what has come; false once agentd has closed the WebSocket."""
        self._protocol.receive_data(self._end.take())
        for event in self._protocol.events():
            match event:
                case ws.Message():
                    self._pieces.append(event.data)
                    if event.message_finished:
                        self.channel.receive(type(event.data)().join(self._pieces))
                        self._pieces.clear()
                case ws.Ping():
                    self._send(event.response())
                case ws.CloseConnection():
                    self._send(event.response())
                    return False
        return True

    def _tell(self, message: str | bytes) -> None:
        """Send an event of the channel's."""
        fields = json.loads(message)
        name, due = fields["event"], self.mishap.due
        if (name == MARK and due(How.UNMARKED, self._age)) or (name == START and due(How.UNSTARTED, self._age)):
            return
        if due(How.PLAIN, self._age):
            message = " ".join([fields.pop("event"), *(f"{name}:{value}" for name, value in fields.items())])
        self._send(ws.TextMessage(str(message)))

    def _send(self, event: ws.Event) -> None:
        self._end.put(self._protocol.send(event))


@attrs.define(eq=False)
class WebSocketClientPeer(WebSocketPeer):
    """One that opens the WebSocket itself, as `client` says; `query` names the leg. Meets ConnectingPeer."""

    client: Client = attrs.field(kw_only=True)
    query: str = attrs.field(kw_only=True)

    async def run(self, host: str, port: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Connect and carry audio until one of the two ends it. Raises OSError where agentd does not let it in."""
        async with await trio.open_tcp_stream(host, port) as stream:
            assert isinstance(stream.socket, VirtualSocket)
            self._end, self._protocol = stream.socket, wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
            with self.scope:
                await self._shake_hands(stream)
                self.open = True
                task_status.started()
                await self._carry()
                await trio.sleep(FRAME)  # a channel's own thread ends it, not the one that makes it
            self._close()

    async def _shake_hands(self, stream: trio.SocketStream) -> None:
        password = "another one" if self.mishap.due(How.R403, -1.0) else self.client.password
        credentials = base64.b64encode(f"{self.client.username}:{password}".encode()).decode()
        target = "/" if self.mishap.due(How.UNNAMED, -1.0) else f"/?{self.query}"
        headers = [(b"Authorization", f"Basic {credentials}".encode())]
        self._send(ws.Request(host="127.0.0.1", target=target, extra_headers=headers, subprotocols=[SUBPROTOCOL]))
        if self.mishap.due(How.DROPPED, -1.0):
            raise ConnectionAbortedError("dropped on purpose")
        self._protocol.receive_data(await stream.receive_some() or None)
        if not isinstance(answer := next(self._protocol.events()), ws.AcceptConnection):
            raise ConnectionRefusedError(f"agentd has answered {answer}")


async def answer_client(stream: trio.SocketStream, head: bytes, peers: Iterable[MediaPeer | None]) -> None:
    """See a client of /media/ID through, of whom `head` has come: one of the `peers` has this id, or none has."""
    protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    protocol.receive_data(head)
    (request,) = protocol.events()
    assert isinstance(request, ws.Request)
    assert SUBPROTOCOL in request.subprotocols
    name = request.target.removeprefix("/media/")
    for peer in peers:
        if isinstance(peer, WebSocketPeer) and peer.connection_id == name and not peer.mishap.due(How.R404, -1.0):
            if not peer.open:
                await peer.serve(stream, protocol)
                return
            status = 409
            break
    else:
        status = 404
    await stream.send_all(protocol.send(ws.RejectConnection(status_code=status)))
