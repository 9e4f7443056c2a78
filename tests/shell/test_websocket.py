"""The WebSocket client over real sockets: the defects of trio-websocket 0.12.2 stay contained."""

import base64
import gc
import hashlib
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
from wsproto import events as ws

from agentd.errors import WebSocketError
from agentd.testing._ari_server import EventSocket
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing.clock import until
from agentd.websocket import ServedWebSocket, WebSocket, tls_context

pytestmark = pytest.mark.loopback

PATIENCE = 5.0
"""Real seconds until a test that hangs is given up."""
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""
SECRET = ("Authorization", "Basic c2VjcmV0")


@attrs.define
class Pair:
    client: WebSocket
    server: FakeAsterisk
    neighbour: trio.CancelScope
    """The scope of a task in the nursery that the client runs in."""
    life: trio.CancelScope
    """The client's own."""

    @property
    def peer(self) -> EventSocket:
        return self.server.sockets[0]

    async def raw(self, data: bytes) -> None:
        peer = self.peer
        async with peer.lock:
            await peer.stream.send_all(data)

    async def until_pongs(self, count: int) -> None:
        await until(lambda: self.server.pongs >= count)

    async def ended(self) -> str:
        """Why the connection ended, once all messages are read."""
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError) as caught:
            async for _ in self.client.messages():
                pass
        return str(caught.value)


@asynccontextmanager
async def connected(**settings: Any) -> AsyncIterator[Pair]:
    server = FakeAsterisk(mute=settings.pop("mute", False))
    async with trio.open_nursery() as outer:
        url = await outer.start(server.serve)
        client = WebSocket(url.replace("http", "ws") + "/ari/events?app=agentd", (SECRET,), **settings)
        async with trio.open_nursery() as nursery:
            neighbour, life = trio.CancelScope(), trio.CancelScope()

            async def run(*, task_status: trio.TaskStatus[None]) -> None:
                with life:
                    await client.run(task_status=task_status)

            async def sit() -> None:
                with neighbour:
                    await trio.sleep_forever()

            nursery.start_soon(sit)
            await nursery.start(run)
            yield Pair(client, server, neighbour, life)
            assert not neighbour.cancelled_caught
            nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    gc.collect()  # a socket that nobody closed is an error (filterwarnings)


async def test_messages_arrive_in_order_both_ways() -> None:
    async with connected() as pair:
        for n in range(20):
            await pair.server.push_text(f"{n}")
        with trio.fail_after(PATIENCE):
            assert [await pair.client.receive() for _ in range(20)] == [f"{n}" for n in range(20)]
        await pair.client.send("hello")
        await until(lambda: pair.server.received == ["hello"])


async def test_a_consumer_that_is_busy_does_not_stop_the_pongs() -> None:
    async with connected() as pair:
        for n in range(300):
            await pair.server.push_text(f"{n}")
        await pair.peer.send(ws.Ping(payload=b"there?"))
        await pair.until_pongs(1)
        assert [await pair.client.receive() for _ in range(300)] == [f"{n}" for n in range(300)]


async def test_what_finds_the_queue_full_is_dropped_and_counted_and_the_pongs_go_on() -> None:
    async with connected(queue=4) as pair:
        for n in range(10):
            await pair.server.push_text(f"{n}")
        await pair.peer.send(ws.Ping())
        await pair.until_pongs(1)
        await until(lambda: pair.client.dropped >= 6)
        assert [await pair.client.receive() for _ in range(4)] == ["0", "1", "2", "3"]


async def test_trio_websocket_issue_184_a_ping_during_the_close_cancels_no_neighbour() -> None:
    async with connected() as pair:
        await pair.raw(b"\x88\x02\x03\xe8" + b"\x89\x00" * 3)
        assert "closed by the peer" in await pair.ended()
        assert not pair.neighbour.cancel_called


async def test_pings_that_cross_our_own_close_do_no_harm() -> None:
    async with connected() as pair:
        async with trio.open_nursery() as nursery:

            async def pings() -> None:
                while pair.server.sockets:
                    try:
                        await pair.raw(b"\x89\x00")
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        return
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(pings)
            await pair.until_pongs(1)
            pair.life.cancel()
            assert "closed by agentd itself" in await pair.ended()
        assert not pair.neighbour.cancel_called


async def test_a_peer_that_answers_no_heartbeat_is_given_up() -> None:
    async with connected(mute=True, heartbeat_interval=0.02, heartbeat_deadline=0.05) as pair:
        assert await pair.ended() == f"{pair.client.url}: no pong within 0.05 s"


async def test_a_peer_that_answers_its_heartbeats_is_kept() -> None:
    async with connected(heartbeat_interval=0.01, heartbeat_deadline=PATIENCE) as pair:
        await trio.sleep(0.1)
        await pair.server.push_text("still here")
        with trio.fail_after(PATIENCE):
            assert await pair.client.receive() == "still here"


async def test_a_ping_waits_for_its_pong() -> None:
    async with connected() as pair:
        with trio.fail_after(PATIENCE):
            await pair.client.ping()


async def test_a_ping_to_a_peer_that_has_gone_is_an_error() -> None:
    async with connected() as pair:
        await pair.server.cut_events()
        await pair.ended()
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError):
            await pair.client.ping()
    with pytest.raises(WebSocketError, match="not connected"):
        await WebSocket("ws://127.0.0.1:1/").ping()


async def test_a_message_beyond_the_limit_ends_the_connection_with_the_reason() -> None:
    async with connected(max_message=1000) as pair:
        await pair.server.push_text("x" * 1000)
        with trio.fail_after(PATIENCE):
            assert len(await pair.client.receive()) == 1000
        await pair.server.push_text("x" * 1001)
        assert "Exceeded maximum message size: 1000 bytes" in await pair.ended()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff\xff\xff",
        b"\x81\x02\xff\xfe",  # text that is not UTF-8
        b"\x83\x00",  # a reserved opcode
        b"\x80\x01x",  # a continuation of nothing
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_websocket_end_the_connection_with_an_error(garbage: bytes) -> None:
    async with connected() as pair:
        await pair.raw(garbage)
        assert pair.client.url in await pair.ended()


async def test_a_peer_that_vanishes_is_an_error_that_names_the_url() -> None:
    async with connected() as pair:
        await pair.server.cut_events()
        assert (await pair.ended()).startswith(f"{pair.client.url}: closed by the peer")
        with pytest.raises(WebSocketError):
            await pair.client.receive()
        with pytest.raises(WebSocketError):
            await pair.client.send("anybody?")


async def test_what_came_before_the_end_can_still_be_read() -> None:
    async with connected() as pair:
        await pair.server.push_text("last words")
        await pair.server.cut_events()
        with trio.fail_after(PATIENCE):
            assert await pair.client.receive() == "last words"
        await pair.ended()


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_a_refused_handshake_tells_the_status_and_leaves_no_socket(status: int) -> None:
    server = FakeAsterisk(reject_events=status)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(server.serve)
        client = WebSocket(url.replace("http", "ws") + "/ari/events", (SECRET,))
        with pytest.raises(WebSocketError, match=f"HTTP {status} instead of opening a WebSocket") as caught:
            await client.run()
        nursery.cancel_scope.cancel()
    assert SECRET[1] not in f"{caught.value!r} {client!r}"
    gc.collect()


@pytest.mark.parametrize(
    "header",
    [
        b"Connection: \xc3\xa9",
        b"Sec-WebSocket-Extensions: \xc3\xa9",
        b"Sec-WebSocket-Protocol: \xc3\xa9",
        b"Sec-WebSocket-Protocol: unheard-of",
        b"Sec-WebSocket-Extensions: unheard-of",
    ],
)
async def test_a_handshake_that_makes_no_sense_is_a_websocket_error(header: bytes) -> None:
    """wsproto reads these headers as ASCII, and raised what nobody expected."""

    async def answer(stream: trio.SocketStream) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += await stream.receive_some()
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
        assert key is not None
        accept = base64.b64encode(hashlib.sha1(key[1] + WEBSOCKET_GUID, usedforsecurity=False).digest())
        head = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
        await stream.send_all(b"\r\n".join([*head, b"Sec-WebSocket-Accept: " + accept, header, b"", b""]))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        client = WebSocket(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", (SECRET,))
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError, match=r"ws://127\.0\.0\.1:") as caught:
            await client.run()
        nursery.cancel_scope.cancel()
    assert SECRET[1] not in str(caught.value)
    gc.collect()


async def refused_by(answer: bytes, *, reset: bool = False, again: bool = False, scheme: str = "ws") -> WebSocketError:
    """How a server is told that reads the handshake, says this, `again` and again, and ends the connection."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(trio.BrokenResourceError):
            await stream.send_all(answer)
            while again:
                await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        client = WebSocket(f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", connect_deadline=60.0)
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError) as caught:
            await client.run()
        nursery.cancel_scope.cancel()
    gc.collect()
    return caught.value


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Swit"])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_server_that_ends_the_connection_in_the_handshake_is_not_waited_for(answer: bytes, reset: bool) -> None:
    """Asterisk does so where its HTTP server has too many sessions. The deadline of connecting went by."""
    assert "before the handshake was through" in str(await refused_by(answer, reset=reset))


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 503 Service Unavailable", b"HTTP/1.1 503 No\r\nContent-Length: 9", b"HTTP/1.1 503\n"]
)
async def test_a_refusal_whose_body_ends_with_the_connection_tells_its_status(head: bytes) -> None:
    error = await refused_by(head + b"\r\n\r\nbusy")
    assert (error.status, "HTTP 503" in str(error)) == (503, True)


async def test_a_refusal_with_a_body_without_an_end_is_told_at_its_head() -> None:
    """All of it was kept, for as long as the deadline of connecting let it come."""
    assert (await refused_by(b"HTTP/1.1 403 No\r\n\r\n" + bytes(1 << 16), again=True)).status == 403


async def test_a_server_that_cannot_be_talked_to_safely_is_told_at_once_with_the_reason() -> None:
    """The deadline of connecting went by, and a certificate that had run out was "no answer within the deadline"."""
    assert "SSL" in str(await refused_by(b"HTTP/1.1 400 No TLS here\r\n\r\n", scheme="wss"))


async def test_a_client_that_ends_the_connection_in_the_handshake_is_not_waited_for() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with await trio.open_tcp_stream("127.0.0.1", listeners[0].socket.getsockname()[1]) as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: ")
    stream = await listeners[0].accept()
    served = ServedWebSocket(
        url="ws://peer", stream=stream, admit=lambda _: 0, subprotocol="media", connect_deadline=60.0
    )
    with trio.fail_after(PATIENCE), pytest.raises(WebSocketError, match="before the handshake was through"):
        await served.run()
    await listeners[0].aclose()
    gc.collect()


async def test_nothing_listening_is_a_websocket_error() -> None:
    client = WebSocket("ws://127.0.0.1:1/ari/events")
    with trio.fail_after(PATIENCE), pytest.raises(WebSocketError, match=r"ws://127\.0\.0\.1:1/ari/events: OSError"):
        await client.run()
    with pytest.raises(WebSocketError):
        await client.receive()


async def test_a_server_that_says_nothing_is_given_up_at_the_deadline_and_leaves_no_socket() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, silent, listeners)
        port = listeners[0].socket.getsockname()[1]
        client = WebSocket(f"ws://127.0.0.1:{port}/", connect_deadline=0.05)
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError, match="no answer within the deadline"):
            await client.run()
        nursery.cancel_scope.cancel()
    gc.collect()


async def test_before_it_is_connected_nothing_can_be_sent_or_received() -> None:
    client = WebSocket("ws://127.0.0.1:1/")
    with pytest.raises(WebSocketError, match="not connected"):
        await client.receive()
    with pytest.raises(WebSocketError, match="not connected"):
        await client.send("x")


async def test_the_end_of_its_nursery_closes_the_connection_at_once_even_to_a_mute_peer() -> None:
    started = trio.current_time()
    async with connected(mute=True) as pair:
        assert pair.peer.mute
    assert trio.current_time() - started < 1.5


def test_there_is_one_tls_context() -> None:
    assert tls_context() is tls_context()


@pytest.mark.parametrize(
    "url", ["ws://ada:hush@127.0.0.1:1/x", "ws://127.0.0.1:1/x?api_key=hush&model=y", "ws://127.0.0.1:1/x#token=hush"]
)
async def test_no_error_shows_a_secret_of_the_url(url: str) -> None:
    socket = WebSocket(url)
    with trio.fail_after(PATIENCE), pytest.raises(WebSocketError, match=r"127\.0\.0\.1:1/x") as caught:
        await socket.run()
    assert "hush" not in repr(caught.value) + repr(socket)


async def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    """The HTTP library repeats it in its error."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"
        socket = WebSocket(url, (("Authorization", "Bearer hush1 "),))
        with trio.fail_after(PATIENCE), pytest.raises(WebSocketError, match="LocalProtocolError") as caught:
            await socket.run()
    assert "hush1" not in repr(caught.value) + repr(socket)
