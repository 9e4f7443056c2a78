"""The loopback peer of the vendors' fakes: it serves, and fails as it is told to."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from agentd.errors import WebSocketError
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd.websocket import WebSocket
from tests.lab.vendors.peer import PeerConnection, WebSocketPeer, open_peer

pytestmark = pytest.mark.loopback

PATIENCE = 5.0


async def echo(connection: PeerConnection) -> None:
    while True:
        await connection.send(await connection.receive())


@asynccontextmanager
async def client(peer: WebSocketPeer, path: str = "/v1", **settings: float) -> AsyncIterator[WebSocket]:
    socket = WebSocket(peer.url + path, (("Authorization", "Token k"),), **settings)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(socket.run)
        yield socket
        nursery.cancel_scope.cancel()


async def said(socket: WebSocket) -> str | bytes:
    with trio.fail_after(PATIENCE):
        return await socket.receive()


async def ended(socket: WebSocket) -> str:
    with trio.fail_after(PATIENCE), pytest.raises(WebSocketError) as caught:
        while True:
            await socket.receive()
    return str(caught.value)


async def test_text_bytes_and_large_messages_go_both_ways() -> None:
    async with open_peer(echo) as peer, client(peer) as socket:
        for message in ("hello", b"\x01\x02", "x" * 300_000):
            await socket.send(message)
            assert await said(socket) == message
    assert peer.connections == 1
    assert not peer.open


async def test_the_handler_sees_the_request_s_path_and_headers() -> None:
    seen = []

    async def look(connection: PeerConnection) -> None:
        seen.append((connection.request_path, connection.request_headers["authorization"]))

    async with open_peer(look) as peer, client(peer, "/v1/listen?model=x") as socket:
        await ended(socket)
    assert seen == [("/v1/listen?model=x", "Token k")]


async def test_a_client_that_leaves_ends_its_handler() -> None:
    async with open_peer(echo) as peer:
        async with client(peer):
            await until(lambda: len(peer.open) == 1)
        await until(lambda: not peer.open)


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.REFUSED, 401), (Fault.RATE_LIMITED, 429), (Fault.UNAVAILABLE, 503)]
)
async def test_the_upgrade_is_refused(fault: Fault, status: int) -> None:
    async with open_peer(echo) as peer:
        peer.strike(fault)
        with pytest.raises(WebSocketError) as caught:
            await WebSocket(peer.url).run()
        assert caught.value.status == status
        peer.strike(Fault.NONE)
        async with client(peer) as socket:
            await socket.send("again")
            assert await said(socket) == "again"


async def test_admission_decides_by_path_and_headers() -> None:
    def admit(path: str, headers: object) -> int:
        return 101 if path == "/v1" else 404

    async with open_peer(echo, admit=admit) as peer:
        with pytest.raises(WebSocketError) as caught:
            await WebSocket(peer.url + "/v2").run()
        assert caught.value.status == 404
        async with client(peer) as socket:
            await socket.send("x")
            assert await said(socket) == "x"


async def test_a_slow_peer_delays_the_upgrade_and_each_message() -> None:
    async with open_peer(echo, WebSocketPeer(delay=0.1)) as peer:
        peer.strike(Fault.SLOW)
        began = trio.current_time()
        async with client(peer) as socket:
            assert trio.current_time() - began >= 0.1
            await socket.send("x")
            await said(socket)
            assert trio.current_time() - began >= 0.2


async def test_a_mute_peer_takes_everything_and_answers_nothing_not_even_a_ping() -> None:
    async with open_peer(echo) as peer, client(peer, heartbeat_interval=0.05, heartbeat_deadline=0.1) as socket:
        await socket.send("x")
        await said(socket)
        peer.strike(Fault.MUTE)
        await socket.send("y")
        assert "no pong" in await ended(socket)


async def test_a_mute_peer_answers_no_upgrade() -> None:
    async with open_peer(echo) as peer:
        peer.strike(Fault.MUTE)
        with pytest.raises(WebSocketError, match="deadline"):
            await WebSocket(peer.url, connect_deadline=0.1).run()


async def test_a_connection_is_closed_at_once_with_code_1011() -> None:
    async with open_peer(echo) as peer, client(peer) as socket:
        peer.strike(Fault.CLOSE)
        assert "1011" in await ended(socket)


async def test_a_connection_is_cut_in_the_middle_of_a_frame() -> None:
    async with open_peer(echo) as peer, client(peer) as socket:
        await socket.send("x")
        await said(socket)
        peer.strike(Fault.CUT)
        assert "1006" in await ended(socket)


async def test_garbage_is_sent_and_then_it_goes_on() -> None:
    async with open_peer(echo) as peer, client(peer) as socket:
        peer.strike(Fault.GARBAGE)
        with pytest.raises(ValueError):
            json.loads(await said(socket))
        assert json.loads(await said(socket))["type"] == "ThisTypeIsUnknown"
        assert isinstance(await said(socket), bytes)
        await socket.send("x")
        assert await said(socket) == "x"


async def test_an_oversized_message_is_larger_than_a_client_allows() -> None:
    async with open_peer(echo) as peer, client(peer) as socket:
        peer.strike(Fault.OVERSIZED)
        assert "Exceeded maximum message size" in await ended(socket)


async def test_a_fake_that_fails_fails_the_test() -> None:
    async def broken(connection: PeerConnection) -> None:
        raise AssertionError("that was not in the documentation")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_peer(broken) as peer, client(peer) as socket:
            await ended(socket)
            await trio.sleep_forever()
    assert caught.group_contains(AssertionError, match="not in the documentation")
