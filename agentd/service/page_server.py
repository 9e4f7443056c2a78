"""The health page's port: which connections are served, and for how long. agentd.service.http1 has what is said on one.

The port is on no guard but the firewall's: whatever comes costs a connection, a second or a few kilobytes, and no call.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import attrs
import trio

from agentd import deadlines
from agentd.accepting import accept_connections, open_listeners
from agentd.service.http1 import Asked, HttpConnection, Page

MAX_CONNECTIONS = 32
"""Connections at a time. One more takes the place of the one that is idle for longest: what is left open and unused
must not lock a probe out."""
REQUEST_TIME = deadlines.PAGE_REQUEST.seconds
"""An idle connection is closed after as many seconds."""
FAREWELL_BYTES = 1 << 20
READ_BYTES = 4096
BACKLOG = 128

Pages = Mapping[str, Callable[[], Awaitable[Page]]]


@attrs.define(eq=False)
class _Guest:
    """One connection."""

    since: float
    """When its present request could have come."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    idle: bool = True
    """Nothing has come of a request yet."""


@attrs.define(eq=False)
class PageServer:
    """Serves `pages` on `host`:`port`; each is made anew for each request. Run it once."""

    host: str
    port: int
    pages: Pages
    _guests: list[_Guest] = attrs.field(factory=list, init=False)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started` gives the port. Raises OSError when the address cannot be bound."""
        listeners = await open_listeners(self.host, self.port, BACKLOG)
        async with trio.open_nursery() as connections:
            task_status.started(listeners[0].socket.getsockname()[1])
            await accept_connections("health page", listeners, self._handle, connections)

    async def _handle(self, stream: trio.SocketStream) -> None:
        if len(self._guests) >= MAX_CONNECTIONS:
            longest = min(self._guests, key=lambda guest: (not guest.idle, guest.since))
            self._guests.remove(longest)
            longest.scope.cancel(reason="another connection takes its place")
        guest = _Guest(trio.current_time())
        self._guests.append(guest)
        try:
            with guest.scope, suppress(trio.BrokenResourceError):
                if await self._converse(stream, guest):
                    await _see_off(stream)
        finally:
            if guest in self._guests:
                self._guests.remove(guest)

    async def _converse(self, stream: trio.SocketStream, guest: _Guest) -> bool:
        """Answer one request after the other; false where one took too long."""
        http = HttpConnection(self.pages.keys())
        while not http.closed:
            guest.since, guest.idle = trio.current_time(), True
            with trio.move_on_after(REQUEST_TIME) as deadline:
                await self._answer_one(stream, http, guest)
            if deadline.cancelled_caught:
                return False
        return True

    async def _answer_one(self, stream: trio.SocketStream, http: HttpConnection, guest: _Guest) -> None:
        while (due := http.next()) is None:
            data = await stream.receive_some(READ_BYTES)
            guest.idle = False
            http.receive(bytes(data))
        if isinstance(due, Asked):
            due = http.answer(await self.pages[due.path]())
        await stream.send_all(due)


async def _see_off(stream: trio.SocketStream) -> None:
    with trio.move_on_after(deadlines.PAGE_FAREWELL.seconds):
        await stream.send_eof()
        left = FAREWELL_BYTES
        while left > 0 and (data := await stream.receive_some(READ_BYTES)):
            left -= len(data)
