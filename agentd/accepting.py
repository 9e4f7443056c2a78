"""The accept loop of a TCP port: what stands between the port and the tasks that serve its connections.

trio.serve_listeners ends with the first error that a handler raises, and every connection with it. It also writes a log
line ten times a second, past agentd's logs, while the process has no descriptor left.
"""

import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import attrs
import structlog
import trio

from agentd.addresses import EVERY_IPV6, LOOPBACK, canonical
from agentd.errors import naming_address

log = structlog.get_logger("agentd.accepting")

SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What accept(2) says while the process or the host has nothing left to take a connection with."""
PAUSE = 0.1
"""Seconds after which it is tried again then: whoever waits stays in the kernel's queue."""
SILENCE = 60.0
"""Seconds for which a shortage that was told is not told again."""
NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
"""What a host says that has no IPv6."""
MOST_WAITING = 0xFFFF
"""The backlog where none is asked for, as trio.open_tcp_listeners has it; the kernel takes less."""
GONE = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED", "ENETDOWN", "EPROTO", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP",
        "ENETUNREACH", "ETIMEDOUT", "EPERM",
    )
)  # fmt: skip
"""What accept(2) says of one connection that broke before it was accepted; the next one may be well."""

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def open_listeners(host: str, port: int, backlog: int | None = None) -> list[trio.SocketListener]:
    """Listen on an IP address, or on `localhost`; port 0 is any that is free, and the same of all listeners.

    `::` serves both families, whatever the host's bindv6only says (RFC 3493, section 5.3; trio.open_tcp_listeners
    would serve IPv6 alone), and so does `localhost`, where the host has the second one. Raises OSError.
    """
    host = canonical(host)
    if host == EVERY_IPV6:
        return [await _listen_to_both_families(port, backlog)]
    if host != "localhost":
        return await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    listeners = await trio.open_tcp_listeners(port, host=LOOPBACK[0], backlog=backlog)
    port = listeners[0].socket.getsockname()[1]
    try:
        listeners += await trio.open_tcp_listeners(port, host=LOOPBACK[1], backlog=backlog)
    except OSError as error:
        if error.errno not in NO_IPV6:
            for listener in listeners:
                await trio.aclose_forcefully(listener)
            raise
    return listeners


async def _listen_to_both_families(port: int, backlog: int | None) -> trio.SocketListener:
    both = trio.socket.socket(trio.socket.AF_INET6, trio.socket.SOCK_STREAM)
    try:
        both.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        both.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 0)
        await both.bind((EVERY_IPV6, port))
        both.listen(MOST_WAITING if backlog is None else backlog)
        return trio.SocketListener(both)
    except BaseException:
        both.close()
        raise


async def accept_connections(
    port: str,
    listeners: Sequence[trio.SocketListener],
    handle: Handler,
    connections: trio.Nursery,
    on_failed: Callable[[], None] = lambda: None,
) -> None:
    """Run `handle(stream)` in `connections` for each connection, until cancelled; closes the listeners then.

    The stream is closed when its handler returns or raises. What a handler raises is logged and ends its own connection
    only, and `on_failed` is told; `port` is how the log calls it. Raises OSError when a listener itself is broken.
    """
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_accept, port, listener, handle, connections, on_failed)


@attrs.define(eq=False)
class KeptPort:
    """A TCP port that is listened on again, after a failure, under the number that its peers have been told.

    `name` is how the log calls its connections, `table` the one of agent.toml that names its address.
    """

    name: str
    table: str
    host: str
    port: int
    """0: any that is free."""
    backlog: int
    listening: bool = attrs.field(default=False, init=False)
    _bound: int = attrs.field(default=0, init=False)

    async def serve(
        self,
        handle: Handler,
        connections: trio.Nursery | None,
        on_failed: Callable[[], None],
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections until cancelled; `started` gives the port that was bound. May be run again.

        They live in `connections`; None: here, so that they end with it. Otherwise as accept_connections. Raises
        AddressUnusable when the address cannot be bound.
        """
        with naming_address(self.host, self.port, self.table):
            listeners = await open_listeners(self.host, self._bound or self.port, self.backlog)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_connections, self.name, listeners, handle, connections or nursery, on_failed)
            self._bound = listeners[0].socket.getsockname()[1]
            self.listening = True
            log.info(f"{self.name} listener is up", host=self.host, port=self._bound)
            task_status.started(self._bound)
            try:
                await trio.sleep_forever()
            finally:
                self.listening = False


def crowding(peers: Sequence[str]) -> int:
    """Which of the connections from these addresses, oldest first, makes room for one more: the oldest of those whose
    address has the most. So a stranger's silent ones keep no other address out."""
    counts = Counter(peers)
    return max(range(len(peers)), key=lambda at: (counts[peers[at]], -at))


async def _accept(
    port: str, listener: trio.SocketListener, handle: Handler, connections: trio.Nursery, on_failed: Callable[[], None]
) -> NoReturn:
    told = -SILENCE
    async with listener:
        while True:
            stream = shortage = None
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno in SHORTAGE:
                    shortage = str(error)
                elif error.errno not in GONE:
                    raise
            if stream is not None:
                connections.start_soon(_serve, port, stream, handle, on_failed)
            if shortage is not None:
                if trio.current_time() - told >= SILENCE:
                    told = trio.current_time()
                    log.error("no connection can be accepted now; it is tried again", port=port, error=shortage)
                await trio.sleep(PAUSE)


async def _serve(port: str, stream: trio.SocketStream, handle: Handler, on_failed: Callable[[], None]) -> None:
    """The outermost frame of a connection."""
    try:
        await handle(stream)
    except* Exception:
        on_failed()
        log.exception("a connection is ended by an error of ours", port=port)
    finally:
        await trio.aclose_forcefully(stream)
