"""A vendor's WebSocket: one writer, bounded, every failure as a ProviderError."""

import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from agentd.budgets import VENDOR_INBOX, VENDOR_OUTBOX
from agentd.errors import ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd.testing.clock import until
from agentd.testing.faults import Fault
from agentd_providers.vendor import socket as vendor_socket
from agentd_providers.vendor.json_object import SHOWN, parse_object
from agentd_providers.vendor.socket import OUTBOX, RESERVED, VendorSocket, open_vendor_socket
from tests.lab.vendors.peer import Handler, PeerConnection, WebSocketPeer, open_peer
from tests.unit.budgets_counted import counting

pytestmark = pytest.mark.loopback

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
        with counting() as counted:
            for _ in range(OUTBOX):
                socket.send_audio(large)
            assert socket.dropped_audio == RESERVED
            for _ in range(RESERVED):
                socket.send({})
            with pytest.raises(ProviderUnavailable, match="takes no messages"):
                socket.send({})
        assert counted == {VENDOR_OUTBOX: RESERVED + 1}


async def test_messages_that_nobody_takes_are_dropped_and_counted() -> None:
    async def talks(connection: PeerConnection) -> None:
        for _ in range(VENDOR_INBOX.most + 7):
            await connection.send("{}")
        await trio.sleep_forever()

    with counting() as counted:
        async with open_peer(talks) as peer, connected(peer) as socket:
            await until(lambda: socket.dropped_messages == 7)
    assert counted == {VENDOR_INBOX: 7}


async def test_a_vendor_that_takes_a_message_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_socket, "SEND_DEADLINE", 0.1)
    async with open_peer(deaf) as peer, connected(peer) as socket:
        for _ in range(20):
            socket.send_audio(bytes(1 << 20))
        with pytest.raises(ProviderUnavailable, match="no answer within the deadline"):
            await received(socket)


def closing(reason: str) -> Handler:
    """Says why it closes the connection."""

    async def close(connection: PeerConnection) -> None:
        await connection.close(4000, reason)

    return close


@pytest.mark.parametrize("reason", [f"bad Authorization: Token {SECRET}", f"no such key: {SECRET}", f"of {SECRET}s"])
async def test_a_close_that_repeats_a_header_shows_nothing_of_it(reason: str) -> None:
    async with open_peer(closing(reason)) as peer, connected(peer) as socket:
        with pytest.raises(ProviderUnavailable, match=r"code=4000.*\*\*\*") as caught:
            await received(socket)
        told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told and "Token" not in told


async def test_who_knows_more_secrets_takes_them_out_and_the_rest_is_not_long() -> None:
    def conceal(text: str) -> str:
        return text.replace("Bobby", "***" * 200)

    async with open_peer(closing("ask Bobby")) as peer:
        async with open_vendor_socket("Vendor", peer.url, (), connect_deadline=1.0, conceal=conceal) as socket:
            with pytest.raises(ProviderUnavailable, match=r"ask \*\*\*") as caught:
                await received(socket)
    assert len(str(caught.value)) < SHOWN + 100


async def test_what_is_no_json_is_shown_without_our_secrets() -> None:
    async with open_peer(echo) as peer, connected(peer) as socket:
        for text in (f"<p>{SECRET}</p>", f'["Token {SECRET}"]', " " * (SHOWN - 5) + SECRET):
            with pytest.raises(ProviderProtocolError) as caught:
                parse_object("Vendor", text, socket.conceal)
            assert SECRET[:5] not in str(caught.value)


async def test_half_a_character_is_not_sent() -> None:
    async with open_peer(echo) as peer, connected(peer) as socket:
        socket.send({"text": "ends in \ud83d"})
        assert json.loads(await received(socket)) == {"text": "ends in \ufffd"}
