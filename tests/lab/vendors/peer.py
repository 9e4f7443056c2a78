"""A vendor's WebSocket server on loopback, whose every way to fail is to be had on demand.

What a vendor says is its fake's: a handler that gets a `PeerConnection` for each client. Faults strike from outside, at
any time, also in the middle of what the handler does. The frames are wsproto's, written to a plain TCP stream: so that
one can be cut in two.
"""

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import wsproto
from wsproto import events as ws
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from agentd.testing.faults import Fault

CHUNK = 65536
LARGEST = 16 << 20
"""Bytes of a client's message that are taken."""
CLOSING = 1.0
"""Seconds that a last frame may take to leave."""
PATIENCE = 10.0
"""Seconds that a peer's thread may take to start and to end."""
SWITCHING = 101


STATUSES: Mapping[Fault, int] = {Fault.REFUSED: 401, Fault.RATE_LIMITED: 429, Fault.UNAVAILABLE: 503}


class PeerGone(Exception):
    """The client's connection is gone."""


Admission = Callable[[str, Mapping[str, str]], int]
"""From a request's path and headers (names in lower case) to the HTTP status that it is answered with; 101: welcome."""


@attrs.define(eq=False)
class PeerConnection:
    """One client. `receive` is for one task at a time, `send` for any; both raise PeerGone once the client is gone.

    `request_path` is with its query; the names in `request_headers` are in lower case.
    """

    peer: "WebSocketPeer"
    stream: trio.SocketStream
    request_path: str = attrs.field(default="", init=False)
    request_headers: Mapping[str, str] = attrs.field(factory=dict, init=False)
    _protocol: wsproto.WSConnection = attrs.field(init=False)
    _events: Iterator[ws.Event] = attrs.field(init=False)
    _lock: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _struck: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        self._events = iter(())

    async def receive(self) -> str | bytes:
        """The client's next message. Cancelling it may lose one."""
        text, data = "", b""
        while True:
            match event := await self._next_event():
                case ws.TextMessage():
                    text += event.data
                case ws.BytesMessage():
                    data += bytes(event.data)
                case ws.Ping():
                    await self._write(event.response())
                case ws.CloseConnection():
                    with trio.move_on_after(CLOSING):
                        await self._write(event.response())
                    raise PeerGone(f"closed by the client ({event.code})")
            if isinstance(event, ws.Message):
                if len(text) + len(data) > LARGEST:
                    raise PeerGone("the client sent more than a message may hold")
                if event.message_finished:
                    return text if isinstance(event, ws.TextMessage) else data

    async def send(self, message: str | bytes | Mapping[str, Any]) -> None:
        """Send text, bytes, or an object as JSON. Cancelling it may cut a frame: close the connection then."""
        if self.peer.fault is Fault.SLOW:
            await trio.sleep(self.peer.delay)
        match message:
            case str():
                await self._write(ws.TextMessage(message))
            case bytes():
                await self._write(ws.BytesMessage(message))
            case _:
                await self._write(ws.TextMessage(json.dumps(message)))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket; does nothing where it is closed already."""
        with trio.move_on_after(CLOSING):
            try:
                await self._write(ws.CloseConnection(code, reason))
            except PeerGone:
                pass  # it is what was wanted

    # --- its life, for the peer

    async def run(self, handler: "Handler", admit: Admission) -> None:
        """Answer the upgrade, then have the handler talk, until either side or a fault ends it."""
        try:
            if await self._upgrade(admit):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._suffer)
                    with self._scope:
                        await handler(self)
                    await self.close()
                    nursery.cancel_scope.cancel()
        except* (PeerGone, OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left, as it may at any time

    def strike(self) -> None:
        """The peer's fault has changed."""
        self._struck.set()

    async def _upgrade(self, admit: Admission) -> bool:
        event = await self._next_event()
        if not isinstance(event, ws.Request):
            raise PeerGone(f"the client asks for no WebSocket but sends {event!r}")
        self.request_path = event.target
        self.request_headers = {name.decode().lower(): value.decode() for name, value in event.extra_headers}
        if self.peer.fault is Fault.MUTE:
            while await self.stream.receive_some(CHUNK):
                pass
            raise PeerGone("the client waits no longer for its upgrade")
        if self.peer.fault is Fault.SLOW:
            await trio.sleep(self.peer.delay)
        status = STATUSES.get(self.peer.fault) or admit(self.request_path, self.request_headers)
        if status == SWITCHING:
            await self._write(ws.AcceptConnection())
            return True
        body = self.peer.refusals.get(status, b"")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._write(ws.RejectConnection(status_code=status, headers=headers, has_body=True))
        await self._write(ws.RejectData(body))
        return False

    async def _suffer(self) -> None:
        """Do what a fault that strikes an open connection does to it."""
        while True:
            match self.peer.fault:
                case Fault.CLOSE:
                    await self.close(1011, "internal error")
                    self._scope.cancel()
                case Fault.CUT:
                    self._scope.cancel()
                    with trio.move_on_after(CLOSING):
                        async with self._lock:
                            await self.stream.send_all(b"\x82\x7e\x0f\xa0" + bytes(100))  # 100 of 4000 bytes
                    await trio.aclose_forcefully(self.stream)
                case Fault.GARBAGE:
                    self.peer.fault = Fault.NONE
                    await self.send("certainly, }{ no JSON")
                    await self.send({"type": "ThisTypeIsUnknown", "value": [1, None]})
                    await self.send(random.Random(1).randbytes(333))
                case Fault.OVERSIZED:
                    self.peer.fault = Fault.NONE
                    await self.send({"type": "ThisMessageIsLarge", "padding": "x" * self.peer.oversize})
            await self._struck.wait()
            self._struck = trio.Event()

    async def _next_event(self) -> ws.Event:
        while True:
            for event in self._events:
                return event
            try:
                data = await self.stream.receive_some(CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone(f"the connection broke: {error!r}") from error
            if not data:
                raise PeerGone("the client closed the connection")
            try:
                self._protocol.receive_data(data)
            except RemoteProtocolError as error:
                raise PeerGone(f"the client broke the protocol: {error}") from error
            self._events = self._protocol.events()

    async def _write(self, event: ws.Event) -> None:
        if self.peer.fault is Fault.MUTE:
            return
        async with self._lock:
            try:
                await self.stream.send_all(self._protocol.send(event))
            except (LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone(f"nothing can be sent any more: {error!r}") from error


Handler = Callable[[PeerConnection], Awaitable[None]]


@attrs.define(eq=False)
class WebSocketPeer:
    """A WebSocket server on loopback. `delay` (seconds) and `oversize` (bytes) are for the faults of these names;
    `refusals` are the bodies of refused upgrades by their status."""

    delay: float = 0.3
    oversize: int = 8 << 20
    refusals: Mapping[int, bytes] = attrs.field(factory=dict)
    fault: Fault = attrs.field(default=Fault.NONE, init=False)
    port: int = attrs.field(default=0, init=False)
    connections: int = attrs.field(default=0, init=False)
    """Connections that came so far, whether they were let in or not."""
    open: set[PeerConnection] = attrs.field(factory=set, init=False)
    failures: list[Exception] = attrs.field(factory=list, init=False)
    """What handlers raised."""
    _token: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False)

    @property
    def url(self) -> str:
        """ws://127.0.0.1:port"""
        return f"ws://127.0.0.1:{self.port}"

    def strike(self, fault: Fault) -> None:
        """Fail like this from now on, also towards clients that are connected; from any thread."""
        assert self._token is not None, "the peer does not run"
        self.fault = fault
        self._token.run_sync_soon(self._tell)

    def _tell(self) -> None:
        for connection in self.open:
            connection.strike()

    async def serve(
        self,
        handler: Handler,
        admit: Admission = lambda _path, _headers: SWITCHING,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve clients until cancelled. What a handler raises ends it all: a fake that fails is a test that fails."""

        async def welcome(stream: trio.SocketStream) -> None:
            connection = PeerConnection(self, stream)
            self.connections += 1
            self.open.add(connection)
            try:
                await connection.run(handler, admit)
            except Exception as error:
                self.failures.append(error)  # a cancellation while the stream is closed would replace it
                raise
            finally:
                self.open.discard(connection)

        self._token = trio.lowlevel.current_trio_token()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(welcome, listeners)


@asynccontextmanager
async def open_peer(handler: Handler, peer: WebSocketPeer | None = None, **serve: Any) -> AsyncIterator[WebSocketPeer]:
    """A peer (`peer`: one with settings of its own) for as long as the block is entered."""
    peer = peer or WebSocketPeer()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: peer.serve(handler, task_status=task_status, **serve))
        yield peer
        nursery.cancel_scope.cancel()
    if peer.failures:
        raise ExceptionGroup("the fake failed", peer.failures)
