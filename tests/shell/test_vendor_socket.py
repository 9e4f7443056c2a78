"""A vendor's WebSocket: one writer, bounded, every failure as a ProviderError."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from providers import vendor_socket
from providers.vendor_socket import OUTBOX, RESERVED, VendorSocket, open_vendor_socket, parse_object
from tests.lab.vendors.peer import Fault, PeerConnection, WebSocketPeer, open_peer

PATIENCE = 5.0
SECRET = "s3cret-of-the-vendor"


async def echo(connection: PeerConnection) -> None:
    while True:
        await connection.send(await connection.receive())


async def deaf(connection: PeerConnection) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def connected(peer: WebSocketPeer) -> AsyncIterator[VendorSocket]:
    headers = (("Authorization", f"Token {SECRET}"),)
    async with open_vendor_socket("Vendor", peer.url, headers, connect_deadline=1.0) as socket:
        yield socket


async def received(socket: VendorSocket) -> str | bytes:
    with trio.fail_after(PATIENCE):
        return await socket.receive()


async def test_messages_and_audio_go_out_in_order() -> None:
    async with open_peer(echo) as peer, connected(peer) as socket:
        socket.send({"type": "Größe"})
        socket.send_audio(b"\x01\x02")
        socket.send_audio({"audio": "AQI="})
        assert await received(socket) == '{"type":"Größe"}'
        assert await received(socket) == b"\x01\x02"
        assert json.loads(await received(socket)) == {"audio": "AQI="}
        assert SECRET not in repr(socket)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (401, ProviderRejected, "is the key right"),
        (403, ProviderRejected, "is the key right"),
        (404, ProviderRejected, "HTTP 404"),
        (408, ProviderUnavailable, "HTTP 408"),
        (429, ProviderUnavailable, "HTTP 429"),
        (503, ProviderUnavailable, "HTTP 503"),
    ],
)
async def test_a_refused_upgrade_tells_whose_fault_it_is(status: int, error: type[Exception], says: str) -> None:
    async with open_peer(echo, admit=lambda _path, _headers: status) as peer:
        with pytest.raises(error, match=says) as caught:
            async with connected(peer):
                raise AssertionError("it opened")
        assert SECRET not in str(caught.value)


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(ProviderUnavailable, match=r"Vendor: ws://127\.0\.0\.1:1"):
        async with open_vendor_socket("Vendor", "ws://127.0.0.1:1", (), connect_deadline=1.0):
            raise AssertionError("it opened")


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.CUT, Fault.OVERSIZED])
async def test_a_connection_that_goes_is_told_by_receive_and_nothing_else_raises(fault: Fault) -> None:
    async with open_peer(echo) as peer, connected(peer) as socket:
        socket.send({})
        await received(socket)
        peer.strike(fault)
        with pytest.raises(ProviderUnavailable, match="Vendor: "):
            await received(socket)
        for _ in range(10):
            socket.send({})
            socket.send_audio(b"\x01\x02")
            await trio.sleep(0.01)


async def test_a_vendor_that_takes_nothing_costs_audio_and_room_is_left_for_messages() -> None:
    async with open_peer(deaf) as peer, connected(peer) as socket:
        large = bytes(1 << 20)  # more than the kernel's buffers take
        for _ in range(OUTBOX):
            socket.send_audio(large)
        assert socket.dropped_audio == RESERVED
        for _ in range(RESERVED):
            socket.send({})
        with pytest.raises(ProviderUnavailable, match="takes no messages"):
            socket.send({})


async def test_a_vendor_that_takes_a_message_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_socket, "SEND_DEADLINE", 0.1)
    async with open_peer(deaf) as peer, connected(peer) as socket:
        for _ in range(20):
            socket.send_audio(bytes(1 << 20))
        with pytest.raises(ProviderUnavailable, match="no answer within the deadline"):
            await received(socket)


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "7", "[" * 100_000])
def test_what_is_no_json_object_is_a_protocol_error_that_shows_only_its_beginning(text: str) -> None:
    with pytest.raises(ProviderProtocolError, match="Vendor: expected") as caught:
        parse_object("Vendor", text)
    assert len(str(caught.value)) < 300
