"""The accept loop of a TCP port: what stands between the port and the tasks that serve its connections.

trio.serve_listeners ends with the first error that a handler raises, and every connection with it. It also writes a log
line ten times a second, past agentd's logs, while the process has no descriptor left.
"""

import errno
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog
import trio

log = structlog.get_logger("agentd.accepting")

SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What accept(2) says while the process or the host has nothing left to take a connection with."""
PAUSE = 0.1
"""Seconds after which it is tried again then: whoever waits stays in the kernel's queue."""
SILENCE = 60.0
"""Seconds for which a shortage that was told is not told again."""
GONE = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED", "ENETDOWN", "EPROTO", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP",
        "ENETUNREACH", "ETIMEDOUT", "EPERM",
    )
)  # fmt: skip
"""What accept(2) says of one connection that broke before it was accepted; the next one may be well."""

Handler = Callable[[trio.SocketStream], Awaitable[None]]


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
