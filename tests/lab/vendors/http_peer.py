"""A vendor's HTTP server on loopback, whose every way to fail is to be had on demand.

What a vendor answers is its fake's: a handler that gets an `HttpExchange` for each request. Faults strike from outside,
at any time, also in the middle of an answer. The protocol (RFC 9110 and 9112) is h11's, written to a plain TCP stream:
so that an answer can be cut in two.
"""

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import h11
import trio

from agentd.testing.faults import Fault

from .peer import STATUSES, PeerGone

CHUNK = 65536
LARGEST = 32 << 20
"""Bytes of a client's request that are taken."""


@attrs.frozen
class Part:
    """A part of a form (multipart/form-data, RFC 7578)."""

    filename: str
    content_type: str
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


@attrs.frozen
class HttpRequest:
    """What a client asked. `path` is without the query, names of headers are in lower case, `at` is a second of the
    monotonic clock."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    at: float

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def form(self) -> Mapping[str, Part]:
        """The body as a form, by the names of its parts."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        parts = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            assert isinstance(name, str) and name not in parts, f"a part without a name of its own: {name!r}"
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes), f"the part {name!r} holds parts itself"
            parts[name] = Part(part.get_filename() or "", part.get_content_type(), content)
        return parts


@attrs.define(eq=False)
class HttpExchange:
    """One request, and the way to answer it: `answer` at once, or `begin`, `send` pieces, `end`.

    Each raises PeerGone once the client is gone.
    """

    peer: "HttpPeer"
    request: HttpRequest
    _stream: trio.SocketStream
    _connection: h11.Connection

    async def answer(
        self, status: int, body: bytes | Mapping[str, Any], content_type: str = "application/json"
    ) -> None:
        """A whole answer; an object is sent as JSON."""
        if isinstance(body, Mapping):
            body = json.dumps(body).encode()
        await self.begin(status, content_type)
        await self.send(body)
        await self.end()

    async def begin(self, status: int = 200, content_type: str = "application/json", **headers: str) -> None:
        """The head of an answer that comes in pieces. Underscores in names of `headers` stand for hyphens."""
        more = [(name.replace("_", "-"), value) for name, value in headers.items()]
        head = [("content-type", content_type), ("transfer-encoding", "chunked"), *more]
        await self._suffer()
        await self._write(h11.Response(status_code=status, headers=head))

    async def send(self, data: bytes) -> None:
        """A piece of the answer's body."""
        await self._suffer()
        match self.peer.fault:
            case Fault.CUT:
                framed = self._connection.send(h11.Data(data or bytes(100))) or b""
                await self._send(framed[: len(framed) // 2])
                raise PeerGone("cut in the middle of an answer, as asked")
            case Fault.GARBAGE:
                data = random.Random(len(data)).randbytes(len(data))
            case Fault.OVERSIZED:
                data += bytes(self.peer.oversize)
        if data:
            await self._write(h11.Data(data))

    async def end(self) -> None:
        """The answer is complete."""
        await self._suffer()
        await self._write(h11.EndOfMessage())

    async def _suffer(self) -> None:
        match self.peer.fault:
            case Fault.SLOW:
                await trio.sleep(self.peer.delay)
            case Fault.MUTE:
                await trio.sleep_forever()

    async def _write(self, event: h11.Event) -> None:
        await self._send(self._connection.send(event) or b"")

    async def _send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerGone(f"nothing can be sent any more: {error!r}") from error


HttpHandler = Callable[[HttpExchange], Awaitable[None]]


@attrs.define(eq=False)
class HttpPeer:
    """An HTTP server on loopback. See tests.lab.vendors.peer.Fault for how it fails; here CLOSE ends the connection
    without an answer (or in the middle of one), CUT within the next piece of a body, GARBAGE sends random bytes as the
    body, OVERSIZED `oversize` bytes more than there are. SLOW delays the head and each piece by `delay` seconds.
    `refusals` are the bodies of refusals by their status.
    """

    delay: float = 0.3
    oversize: int = 8 << 20
    refusals: Mapping[int, bytes] = attrs.field(factory=dict)
    fault: Fault = attrs.field(default=Fault.NONE, init=False)
    port: int = attrs.field(default=0, init=False)
    connections: int = attrs.field(default=0, init=False)
    """Connections that came so far."""
    open: set[trio.SocketStream] = attrs.field(factory=set, init=False)
    requests: list[HttpRequest] = attrs.field(factory=list, init=False)
    unfinished: int = attrs.field(default=0, init=False)
    """Answers that the client did not wait for."""
    _handling: dict[trio.SocketStream, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _token: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False)

    @property
    def url(self) -> str:
        """http://127.0.0.1:port"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def answering(self) -> int:
        """Requests that are being answered."""
        return len(self._handling)

    def strike(self, fault: Fault) -> None:
        """Fail like this from now on, also in answers that are under way; from any thread."""
        assert self._token is not None, "the peer does not run"
        self.fault = fault
        self._token.run_sync_soon(self._tell)

    def _tell(self) -> None:
        if self.fault in (Fault.CUT, Fault.CLOSE):
            for scope in self._handling.values():
                scope.cancel()

    async def serve(
        self, handler: HttpHandler, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve clients until cancelled. What a handler raises ends it all: a fake that fails is a test that fails."""

        async def welcome(stream: trio.SocketStream) -> None:
            self.connections += 1
            self.open.add(stream)
            try:
                await self._talk(stream, handler)
            except* (PeerGone, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
                pass  # the client left, as it may at any time
            finally:
                self.open.discard(stream)
                await trio.aclose_forcefully(stream)

        self._token = trio.lowlevel.current_trio_token()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(welcome, listeners)

    async def _talk(self, stream: trio.SocketStream, handler: HttpHandler) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request = await _next_request(connection, stream)
            if request is None:
                return
            self.requests.append(request)
            exchange = HttpExchange(self, request, stream, connection)
            if (status := STATUSES.get(self.fault)) is not None:
                await exchange.answer(status, self.refusals.get(status, b""))
            elif self.fault is Fault.CLOSE:
                return
            elif not await self._answer(exchange, stream, handler):
                self.unfinished += 1
                return
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _answer(self, exchange: HttpExchange, stream: trio.SocketStream, handler: HttpHandler) -> bool:
        """Have the handler answer, for as long as the client is there; whether it came to its end."""
        done, gone = False, False
        async with trio.open_nursery() as nursery:

            async def until_gone() -> None:
                nonlocal gone
                try:
                    while await stream.receive_some(1):  # nothing is sent before the answer is there
                        raise h11.RemoteProtocolError("the client asks before it was answered")
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass  # that is one way to be gone
                gone = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_gone)
            self._handling[stream] = nursery.cancel_scope
            try:
                await handler(exchange)
                done = True
            except PeerGone:
                pass  # told by what is given back
            finally:
                del self._handling[stream]
            nursery.cancel_scope.cancel()
        return done and not gone


async def _next_request(connection: h11.Connection, stream: trio.SocketStream) -> HttpRequest | None:
    """The next request of a connection, None when there will be none."""
    head, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(CHUNK))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > LARGEST:
                raise PeerGone("the client sent more than a request may hold")
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            target = urlsplit(head.target.decode())
            headers = {name.decode().lower(): value.decode() for name, value in head.headers}
            query = tuple(parse_qsl(target.query, keep_blank_values=True))
            return HttpRequest(head.method.decode(), target.path, query, headers, body, trio.current_time())
        else:
            return None


@asynccontextmanager
async def open_http_peer(handler: HttpHandler, peer: HttpPeer | None = None) -> AsyncIterator[HttpPeer]:
    """A peer (`peer`: one with settings of its own) for as long as the block is entered."""
    peer = peer or HttpPeer()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: peer.serve(handler, task_status=task_status))
        yield peer
        nursery.cancel_scope.cancel()
