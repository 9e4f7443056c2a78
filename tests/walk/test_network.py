"""The network that is none: what a kernel's TCP and UDP do, as far as the walk's peers count on it."""

import pytest
import trio
from trio.testing import MockClock

from tests.walk.datagrams import ROOM as DATAGRAMS
from tests.walk.datagrams import Datagrams
from tests.walk.network import ROOM, Network

Ends = tuple[trio.SocketStream, trio.SocketStream]


@pytest.fixture
async def ends() -> Ends:
    """The two ends of a connection."""
    Network().enable()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    far = await listener.accept()
    await listener.aclose()
    return near, far


async def test_what_one_end_sends_the_other_receives(ends: Ends) -> None:
    near, far = ends
    await near.send_all(b"one")
    await near.send_all(b"two")
    assert await far.receive_some() == b"onetwo"
    assert near.socket.getpeername() == far.socket.getsockname()


async def test_where_nobody_listens_a_connection_is_refused() -> None:
    Network().enable()
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", 1)


async def test_two_cannot_listen_on_one_port() -> None:
    Network().enable()
    await trio.open_tcp_listeners(8090, host="127.0.0.1")
    with pytest.raises(OSError, match="in use"):
        await trio.open_tcp_listeners(8090, host="127.0.0.1")


async def test_a_peer_that_reads_nothing_holds_up_who_sends(ends: Ends, autojump_clock: MockClock) -> None:
    near, far = ends
    with trio.move_on_after(10) as patience:
        await near.send_all(bytes(ROOM + 1))
    assert patience.cancelled_caught
    assert len(await far.receive_some(10 * ROOM)) == ROOM


async def test_a_close_is_the_end_for_the_other(ends: Ends) -> None:
    near, far = ends
    await near.send_all(b"last")
    await near.aclose()
    assert await far.receive_some() == b"last"
    assert await far.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"too late")
    with pytest.raises(trio.ClosedResourceError):
        await near.receive_some()


async def test_a_close_with_something_unread_resets_the_other(
    ends: Ends,
) -> None:
    near, far = ends
    await far.send_all(b"unread")
    await near.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()


async def test_a_close_wakes_who_waits(ends: Ends, autojump_clock: MockClock) -> None:
    near, _far = ends
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.receive_some()

        nursery.start_soon(wait)
        await trio.sleep(1)
        await near.aclose()


def test_a_datagram_comes_from_the_port_that_it_was_sent_from() -> None:
    ports = Datagrams()
    near, far = ports.bind(port=1000), ports.bind()
    far.sendto(b"abcdef", near.getsockname())
    assert near.recvfrom(4) == (b"abcd", far.getsockname())
    with pytest.raises(BlockingIOError):
        near.recvfrom(4)
    with pytest.raises(OSError, match="in use"):
        ports.bind(port=1000)


def test_one_who_is_connected_hears_that_peer_alone_and_what_came_before() -> None:
    ports = Datagrams()
    near, far, stranger = ports.bind(), ports.bind(), ports.bind()
    stranger.sendto(b"before", near.getsockname())
    near.connect(far.getsockname())
    stranger.sendto(b"after", near.getsockname())
    far.sendto(b"wanted", near.getsockname())
    assert [near.recvfrom(10)[0] for _ in range(2)] == [b"before", b"wanted"]
    with pytest.raises(BlockingIOError):
        near.recvfrom(10)


def test_whoever_sends_to_a_port_that_is_closed_is_told_once_if_connected() -> None:
    ports = Datagrams()
    near, far = ports.bind(), ports.bind()
    near.connect(far.getsockname())
    far.close()
    near.send(b"lost")
    with pytest.raises(ConnectionRefusedError):
        near.recvfrom(10)
    with pytest.raises(BlockingIOError):
        near.recvfrom(10)
    far.close()
    with pytest.raises(OSError, match="Bad file"):
        far.recvfrom(10)


def test_what_finds_the_queue_full_is_lost() -> None:
    ports = Datagrams()
    near, far = ports.bind(), ports.bind()
    for number in range(DATAGRAMS + 1):
        far.sendto(b"%d" % number, near.getsockname())
    assert [near.recvfrom(10)[0] for _ in range(DATAGRAMS)][-1] == b"%d" % (DATAGRAMS - 1)
    with pytest.raises(BlockingIOError):
        near.recvfrom(10)
