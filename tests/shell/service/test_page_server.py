"""The health page's port: no request, no client and no page's failure ends it, or keeps a probe from its answer."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import httpx
import pytest
import structlog
import trio

from agentd.service.http1 import Page
from agentd.service.page_server import MAX_CONNECTIONS, REQUEST_TIME, PageServer
from agentd.testing.clock import until
from tests.unit.service.odd_requests import TABLE, Odd, get, statuses

pytestmark = pytest.mark.loopback

LARGE = Page(b"x" * (12 << 20))
"""More than the kernel takes for a client that does not read."""


@attrs.define
class Served:
    server: PageServer
    port: int
    streams: AsyncExitStack

    async def connect(self) -> trio.SocketStream:
        return await self.streams.enter_async_context(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def probe(self) -> int:
        """The status of a client of its own, as a monitor is one."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{self.port}/health", timeout=5.0)).status_code

    @property
    def open(self) -> int:
        return len(self.server._guests)


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    async def health() -> Page:
        await trio.lowlevel.checkpoint()
        return Page(b"well\n")

    async def large() -> Page:
        await trio.lowlevel.checkpoint()
        return LARGE

    async def broken() -> Page:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("this page is broken")

    pages = {"/health": health, "/metrics": health, "/large": large, "/broken": broken}
    server = PageServer("127.0.0.1", 0, pages)
    async with AsyncExitStack() as streams, trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        yield Served(server, port, streams)
        nursery.cancel_scope.cancel()


async def all_of(stream: trio.SocketStream) -> bytes:
    """What comes until the server closes its side."""
    said = bytearray()
    try:
        while data := await stream.receive_some(1 << 20):
            said += data
    except trio.BrokenResourceError:  # a reset: it would not wait for the rest of what we say
        pass
    return bytes(said)


async def say(stream: trio.SocketStream, sent: bytes) -> None:
    try:
        await stream.send_all(sent)
        await stream.send_eof()
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize("odd", TABLE, ids=lambda odd: odd.name)
async def test_no_single_request_ends_the_server(odd: Odd) -> None:
    """13 of 70 ended the daemon and every call."""
    async with served() as page:
        stream = await page.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, stream, odd.sent)
            got = [*statuses(await all_of(stream))]
        assert tuple(got[: len(odd.statuses)]) == odd.statuses
        assert got[len(odd.statuses) :] in ([], [-400]), "a request that is cut off may be told so"
        assert await page.probe() == 200


async def test_a_client_that_is_gone_before_its_answer_is_nobody_s_trouble() -> None:
    async with served() as page:
        for _ in range(50):
            stream = await page.connect()
            await stream.send_all(get(b"/large"))
            await stream.aclose()
        assert await page.probe() == 200
        await until(lambda: page.open == 0)


async def test_idle_connections_used_up_the_descriptors_and_locked_the_probe_out() -> None:
    async with served() as page:
        idle = [await page.connect() for _ in range(3 * MAX_CONNECTIONS)]
        assert await page.probe() == 200
        assert page.open <= MAX_CONNECTIONS
        with trio.fail_after(1):
            assert await all_of(idle[0]) == b"", "the one that was idle for longest is closed"


async def test_slow_requests_lock_no_probe_out_either() -> None:
    async with served() as page:
        for _ in range(2 * MAX_CONNECTIONS):
            await (await page.connect()).send_all(b"GET /health HTTP/1.1\r\nX: ")
        assert await page.probe() == 200
        assert page.open <= MAX_CONNECTIONS


async def test_of_a_full_house_an_idle_connection_goes_before_one_that_is_being_answered() -> None:
    async with served() as page:
        busy = await page.connect()
        await busy.send_all(get(b"/large"))
        await until(lambda: any(not guest.idle for guest in page.server._guests))
        for _ in range(MAX_CONNECTIONS):
            await page.connect()
        assert await page.probe() == 200
        await busy.send_eof()
        [status] = statuses(await all_of(busy))
        assert status == 200


async def test_a_connection_that_is_kept_alive_is_closed_when_nothing_more_is_asked() -> None:
    async with served() as page:
        stream = await page.connect()
        await stream.send_all(get())
        assert [*statuses(await stream.receive_some(4096))] == [200]
        started = trio.current_time()
        assert await all_of(stream) == b""
        assert REQUEST_TIME - 1 < trio.current_time() - started < REQUEST_TIME + 1


async def test_a_client_that_trickles_its_request_has_the_time_of_one_request() -> None:
    async with served() as page:
        stream = await page.connect()
        started = trio.current_time()

        async def trickle() -> None:
            try:
                while True:
                    await stream.send_all(b"x")
                    await trio.sleep(1)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            await all_of(stream)
            assert trio.current_time() - started < REQUEST_TIME + 2
            nursery.cancel_scope.cancel()
        assert await page.probe() == 200


async def test_a_client_that_does_not_read_its_answer_is_closed() -> None:
    async with served() as page:
        stream = await page.connect()
        await stream.send_all(get(b"/large"))
        await until(lambda: page.open == 1)
        started = trio.current_time()
        await until(lambda: page.open == 0)
        assert trio.current_time() - started < REQUEST_TIME + 1


async def test_a_client_that_sends_on_after_a_refusal_reads_it_all_the_same() -> None:
    async with served() as page:
        stream = await page.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, stream, get(headers=b"Host: x\r\nContent-Length: 300000\r\n") + bytes(300_000))
            assert [*statuses(await all_of(stream))] == [-413]


async def test_a_page_that_fails_ends_its_own_connection_and_is_told_once() -> None:
    async with served() as page:
        with structlog.testing.capture_logs() as logs:
            stream, other = await page.connect(), await page.connect()
            await stream.send_all(get(b"/broken"))
            assert await all_of(stream) == b""
        assert [(line["event"], line["log_level"]) for line in logs] == [
            ("a connection is ended by an error of ours", "error")
        ]
        await other.send_all(get())
        assert [*statuses(await other.receive_some(4096))] == [200]


async def test_the_end_of_the_server_ends_its_connections_at_once() -> None:
    async with served() as page:
        stream = await page.connect()
        await stream.send_all(get(b"/large"))
        await until(lambda: page.open == 1)
