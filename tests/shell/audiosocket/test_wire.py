"""A connection that is read and written without waiting, over real sockets."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import attrs
import pytest
import trio

from agentd.audiosocket.wire import SocketWire


@attrs.define(eq=False)
class Ends:
    wire: SocketWire
    far: socket.socket


@pytest.fixture
async def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = await trio.open_tcp_stream(*server.getsockname())
        far, _ = server.accept()
    far.setblocking(False)
    with far:
        async with near:
            yield Ends(SocketWire(near), far)


async def come(ends: Ends) -> bytes | None:
    """What has come, once the kernel has brought it over."""
    await trio.lowlevel.wait_readable(ends.wire.stream.socket)
    return ends.wire.read(100)


async def test_what_has_come_is_read_and_nothing_is_waited_for(ends: Ends) -> None:
    assert ends.wire.read(100) is None
    ends.far.send(b"hello")
    assert await come(ends) == b"hello"
    assert ends.wire.read(100) is None
    ends.far.send(b"x" * 150)
    assert await come(ends) == b"x" * 100
    assert ends.wire.read(100) == b"x" * 50
    ends.far.close()
    assert await come(ends) == b""


async def test_who_can_wait_does(ends: Ends) -> None:
    ends.far.send(b"hello")
    assert await ends.wire.receive_some(100) == b"hello"


async def test_the_kernel_takes_what_there_is_room_for_and_nothing_is_waited_for(ends: Ends) -> None:
    data, sent = bytes(4096), 0
    while taken := ends.wire.write(data):
        sent += taken
    assert sent
    received = b""
    while len(received) < sent:
        await trio.lowlevel.wait_readable(ends.far)
        received += ends.far.recv(1 << 20)
    assert len(received) == sent
    assert ends.wire.write(b"more") == 4


async def test_a_peer_that_is_gone_is_a_broken_connection(ends: Ends) -> None:
    ends.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing it resets it
    ends.far.close()
    with pytest.raises(trio.BrokenResourceError, match="it cannot be read"):
        await come(ends)
    with pytest.raises(trio.BrokenResourceError, match="it cannot be written to"):
        ends.wire.write(b"more")


async def test_a_connection_that_is_closed_here_touches_no_other_one(ends: Ends) -> None:
    """Its descriptor's number may be another connection's by then."""
    number = ends.wire.stream.socket.fileno()
    await ends.wire.stream.aclose()
    others = [socket.socket() for _ in range(3)]
    with ExitStack() as stack:
        for other in others:
            stack.enter_context(other)
        assert number in [other.fileno() for other in others]
        with pytest.raises(trio.BrokenResourceError):
            ends.wire.read(100)
        with pytest.raises(trio.BrokenResourceError):
            ends.wire.write(b"more")
