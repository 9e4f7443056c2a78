"""The doctor's event stream: what a connection attempt that is cut or never answered leaves behind."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from agentd.errors import WebSocketError
from agentd.websocket import WebSocket

pytestmark = pytest.mark.loopback


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """What is left to the garbage collector stays open."""
    gc.disable()
    yield
    gc.enable()


@asynccontextmanager
async def server_that_never_answers() -> AsyncIterator[tuple[str, trio.Event, trio.Event]]:
    """A WebSocket URL; set once the request has come, and once the peer has closed."""
    asked, closed = trio.Event(), trio.Event()

    async def handle(stream: trio.SocketStream) -> None:
        try:
            while await stream.receive_some(4096):
                asked.set()
        except trio.BrokenResourceError:
            pass
        closed.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ari/events", asked, closed
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("no_garbage_collection")
async def test_a_connection_attempt_that_is_cancelled_closes_its_socket() -> None:
    async with server_that_never_answers() as (url, asked, closed), trio.open_nursery() as nursery:
        nursery.start_soon(WebSocket(url).run)
        await asked.wait()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(2):
            await closed.wait()


@pytest.mark.usefixtures("no_garbage_collection")
async def test_a_connection_attempt_that_is_not_answered_in_time_closes_its_socket() -> None:
    async with server_that_never_answers() as (url, _asked, closed):
        with pytest.raises(WebSocketError, match="no answer within the deadline"):
            await WebSocket(url, connect_deadline=0.2).run()
        with trio.fail_after(2):
            await closed.wait()
