"""The one place that touches trio-websocket, as a client and as a server, and the containment of its known defects.

trio-websocket 0.12.2 stops answering pings while its message queue of one is full, can cancel the nursery it
runs in without any exception when a ping meets a close (its issue 184), has no heartbeat, and rebuilds a TLS
context per connection. It does not notice that a peer ends the connection in the middle of a handshake, and reads a
refusal's body to its end, however long that is. So every connection lives in a nursery of its own inside
`WebSocket.run`; a reader only drains into our bounded queue; we send our own heartbeat with a deadline; handshakes are
looked at on their way in; and every failure, the silent ones too, comes out as WebSocketError from `receive`, never as
a cancelled neighbour.
"""

import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cache
from urllib.parse import urlsplit

import attrs
import h11
import trio
import trio_websocket
import wsproto.utilities

from agentd import deadlines
from agentd.errors import WebSocketError, first_of
from agentd.telltales import concealed, without_secrets

CLOSE_DEADLINE = deadlines.SOCKET_CLOSE.seconds
LIBRARY_QUEUE = 64
"""Messages that wait in trio-websocket for our reader, which only drains."""
MOST_HEAD = 64 * 1024
"""Bytes of a peer's part of the handshake that are looked at; trio-websocket refuses less."""
HEAD_END = re.compile(rb"\r?\n\r?\n")
REFUSAL = re.compile(rb"HTTP/1\.[01] ([2-5][0-9][0-9])\b")


@cache
def tls_context() -> ssl.SSLContext:
    """One TLS context for the process; building one takes tens of milliseconds."""
    return ssl.create_default_context()


@attrs.define(eq=False)
class WebSocket:
    """A client connection. Start `run` in a nursery (`await nursery.start(socket.run)`), then `receive`.

    `url` is ws:// or wss:// and must hold no credentials: those go into `headers`; no error shows what looks like one.
    `max_message` bounds one message in bytes, `queue` the number of messages that wait for `receive`; a message that
    finds the queue full is dropped and counted in `dropped`, because a blocked reader would stop the pongs;
    `on_dropped` is told of each, and must not block.
    """

    url: str = attrs.field(repr=without_secrets)
    headers: Sequence[tuple[str, str]] = attrs.field(default=(), repr=False)
    connect_deadline: float = deadlines.SOCKET_CONNECT.seconds
    heartbeat_interval: float = 15.0
    heartbeat_deadline: float = deadlines.SOCKET_HEARTBEAT.seconds
    max_message: int = 1 << 20
    queue: int = 1024
    on_dropped: Callable[[], None] = attrs.field(default=lambda: None, repr=False)
    subprotocols: Sequence[str] = ()
    """Those that are offered to the server (RFC 6455, section 1.9)."""
    dropped: int = attrs.field(default=0, init=False)
    _connection: trio_websocket.WebSocketConnection | None = attrs.field(default=None, init=False)
    _stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] | None = attrs.field(default=None, init=False)
    _failure: str = attrs.field(default="", init=False)
    _status: int = attrs.field(default=0, init=False)
    _inbox: trio.MemoryReceiveChannel[str | bytes] | None = attrs.field(default=None, init=False, repr=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the connection and serve it until it ends or this is cancelled.

        `started` is called once it is open; before that, a failure is raised as WebSocketError; after it, the
        failure is told by `receive` and this returns.
        """
        send, self._inbox = trio.open_memory_channel[str | bytes](self.queue)
        opened = False
        with send:
            try:
                async with trio.open_nursery() as nursery:
                    self._connection = await self._connect(nursery)
                    nursery.start_soon(self._heartbeat, nursery.cancel_scope)
                    opened = True
                    task_status.started()
                    try:
                        await self._drain(send)
                    finally:
                        with trio.move_on_after(CLOSE_DEADLINE, shield=True):
                            await self._connection.aclose()
                        nursery.cancel_scope.cancel()
            except* (
                trio_websocket.ConnectionClosed,
                trio_websocket.HandshakeError,
                trio_websocket.DisconnectionTimeout,
                wsproto.utilities.ProtocolError,
                h11.ProtocolError,  # out of wsproto, where it refuses an answer to a handshake
                trio.TooSlowError,
                trio.BrokenResourceError,
                trio.ClosedResourceError,
                OSError,
                UnicodeError,  # wsproto reads headers of a handshake as ASCII, unchecked
            ) as group:
                error = first_of(group)
                if isinstance(error, trio_websocket.ConnectionRejected):
                    self._status = error.status_code
                self._fail(_describe(error))
            finally:
                if self._stream is not None:  # trio-websocket closes it on some ways out only
                    await trio.aclose_forcefully(self._stream)
        if not opened:
            why = self._failure or "the connection attempt was given up"
            raise WebSocketError(f"{self._place}: {why}", self._status)
        self._fail("the connection ended without saying why")

    async def receive(self) -> str | bytes:
        """The next message. Raises WebSocketError, saying why, once the connection is gone."""
        if self._inbox is None:
            raise WebSocketError(f"{self._place}: not connected")
        try:
            return await self._inbox.receive()
        except trio.EndOfChannel:
            raise WebSocketError(f"{self._place}: {self._failure or 'closed by agentd itself'}") from None

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Every message until the connection is gone, which raises WebSocketError."""
        while True:
            yield await self.receive()

    async def send(self, message: str | bytes, deadline: float = deadlines.SOCKET_SEND.seconds) -> None:
        """Send one message; only one task may send.

        Raises WebSocketError when the connection is gone or takes longer than `deadline` seconds. Cancelling
        it may cut a frame in two: close the connection then.
        """
        if self._connection is None:
            raise WebSocketError(f"{self._place}: not connected")
        try:
            with trio.fail_after(deadline):
                await self._connection.send_message(message)
        except (trio_websocket.ConnectionClosed, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise WebSocketError(f"{self._place}: {_describe(error)}") from error

    async def ping(self) -> None:
        """Wait for the peer's answer to a ping, however long that takes; the caller sets the deadline.

        Raises WebSocketError when the connection is gone. Cancelling it stops waiting only.
        """
        if self._connection is None:
            raise WebSocketError(f"{self._place}: not connected")
        try:
            await self._connection.ping()
        except (trio_websocket.ConnectionClosed, wsproto.utilities.ProtocolError, trio.BrokenResourceError) as error:
            raise WebSocketError(f"{self._place}: {_describe(error)}") from error

    async def _connect(self, nursery: trio.Nursery) -> trio_websocket.WebSocketConnection:
        parts = urlsplit(self.url)
        secure = parts.scheme == "wss"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        with trio.fail_after(self.connect_deadline):
            if secure:
                context = tls_context()
                self._stream = await trio.open_ssl_over_tcp_stream(
                    host, port, ssl_context=context, https_compatible=True
                )
                await self._stream.do_handshake()  # now: what fails in the first thing sent is noticed by nobody
            else:
                self._stream = await trio.open_tcp_stream(host, port)
            return await trio_websocket.wrap_client_stream(
                nursery,
                _Opening(self._stream),  # type: ignore[arg-type]  # any Stream will do
                parts.netloc,
                f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/",
                subprotocols=list(self.subprotocols) or None,
                extra_headers=[(name.encode(), value.encode()) for name, value in self.headers],
                message_queue_size=LIBRARY_QUEUE,
                max_message_size=self.max_message,
            )

    async def _drain(self, send: trio.MemorySendChannel[str | bytes]) -> None:
        assert self._connection is not None
        while True:
            message = await self._connection.get_message()
            try:
                send.send_nowait(message)
            except trio.WouldBlock:
                self.dropped += 1
                self.on_dropped()

    async def _heartbeat(self, connection_scope: trio.CancelScope) -> None:
        assert self._connection is not None
        while True:
            await trio.sleep(self.heartbeat_interval)
            with trio.move_on_after(self.heartbeat_deadline) as deadline:
                await self._connection.ping()
            if deadline.cancelled_caught:
                self._fail(f"no pong within {self.heartbeat_deadline:g} s")
                connection_scope.cancel()

    @property
    def _place(self) -> str:
        """The peer, for messages."""
        return without_secrets(self.url)

    def _fail(self, why: str) -> None:
        # A header that the HTTP library refuses is repeated in its error.
        self._failure = self._failure or concealed(why, (value for _name, value in self.headers))


@attrs.frozen
class Handshake:
    """What a client asks for when it connects. `target`: the path, with its query. Headers by their names in lower
    case; one that is told twice counts by its last value. All of it is the peer's word."""

    target: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    subprotocols: Sequence[str]


class _Refused(trio_websocket.HandshakeError):
    """We have answered a client with an HTTP status instead of opening a WebSocket."""


@attrs.define(eq=False, kw_only=True)
class ServedWebSocket(WebSocket):
    """A server's end of a connection, over a stream that was accepted. The same as a client's; `url` is the peer, for
    messages.

    `admit` decides on a client's handshake: the HTTP status that refuses it, or 0. It must not block. The client is
    told `subprotocol` if it has offered it.
    """

    stream: trio.SocketStream = attrs.field(repr=False)
    admit: Callable[[Handshake], int]
    subprotocol: str

    async def _connect(self, nursery: trio.Nursery) -> trio_websocket.WebSocketConnection:
        self._stream = self.stream
        with trio.fail_after(self.connect_deadline):
            request = await trio_websocket.wrap_server_stream(
                nursery, _Opening(self.stream), message_queue_size=LIBRARY_QUEUE, max_message_size=self.max_message
            )
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.headers}
            offered = request.proposed_subprotocols
            if status := self.admit(Handshake(request.path, headers, offered)):
                await request.reject(status)
                raise _Refused(f"refused with HTTP {status}")
            return await request.accept(subprotocol=self.subprotocol if self.subprotocol in offered else None)


class _CutOff(trio_websocket.HandshakeError):
    """The peer has ended the connection before its part of the handshake was whole."""


@attrs.define(eq=False)
class _Opening(trio.abc.Stream):
    """A stream as trio-websocket is given it: it raises what that does not notice of a handshake."""

    stream: trio.abc.Stream
    _head: bytes = attrs.field(default=b"", init=False)
    _whole: bool = attrs.field(default=False, init=False)
    """The peer's part of the handshake has come."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Raises HandshakeError where no WebSocket comes of it."""
        if self._whole:
            return bytes(await self.stream.receive_some(max_bytes))
        try:
            data = bytes(await self.stream.receive_some(max_bytes))
        except trio.BrokenResourceError as error:
            raise _CutOff(f"the connection broke before the handshake was through: {error.__cause__}") from error
        if not data:
            raise _CutOff("the peer closed the connection before the handshake was through")
        self._head += data
        if (ended := HEAD_END.search(self._head) is not None) or len(self._head) > MOST_HEAD:
            self._whole = True
            if ended and (refusal := REFUSAL.match(self._head)):
                raise trio_websocket.ConnectionRejected(int(refusal[1]), (), None)
            self._head = b""
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises HandshakeError where no WebSocket comes of it."""
        try:
            await self.stream.send_all(data)
        except trio.BrokenResourceError as error:
            if self._whole:
                raise
            raise _CutOff(f"the connection broke before the handshake was through: {error.__cause__}") from error

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


def _describe(error: BaseException) -> str:
    match error:
        case _Refused() | _CutOff():
            return str(error)
        case trio.BrokenResourceError(__cause__=Exception() as cause):
            return f"the connection broke: {cause}"
        case trio_websocket.ConnectionClosed():
            return f"closed by the peer ({error.reason})"
        case trio_websocket.ConnectionRejected():
            return f"the server answered HTTP {error.status_code} instead of opening a WebSocket"
        case trio.TooSlowError():
            return "no answer within the deadline"
        case _:
            return f"{type(error).__name__}: {error}"
