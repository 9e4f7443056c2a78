"""The network that is none: what a kernel's TCP does, as far as the walk's peers count on it."""

import pytest
import trio
from trio.testing import MockClock

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
