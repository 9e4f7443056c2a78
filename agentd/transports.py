"""The table of transports: what `media=NAME` can name, and what runs for it for as long as the daemon does.

A transport is a room of its own that meets agentd.media.transport.Transport, and a row here. A row's opener imports its
room when it is called, so that the names can be asked for without it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import trio

from agentd.config.settings import Config
from agentd.media.clock import LineClock
from agentd.media.transport import Transport
from agentd.metrics import Metrics

if TYPE_CHECKING:
    from agentd.audiosocket.connection import AudioSocketConnection


@attrs.frozen
class Daemon:
    """The daemon, as far as its transports see it. `config()` gives the configuration of now."""

    config: Callable[[], Config]
    metrics: Metrics
    on_stranger: "Callable[[UUID, AudioSocketConnection], bool]"
    """AudioSocket's alone, for calls without ARI: asked about a connection that no call expects."""
    start: Callable[..., Awaitable[Any]]
    """Starts what runs for as long as the daemon does, as a nursery's `start(run, name=...)` does, and runs it again
    when it fails."""
    connections: trio.Nursery
    """Where connections live: what has accepted them may fail and be run again, and none is cut. Each contains what it
    raises."""
    clock: LineClock = attrs.field(default=attrs.Factory(lambda self: LineClock(self.metrics), takes_self=True))
    """Of all lines that agentd clocks, whatever carries them."""


@attrs.frozen
class Running:
    """Transports that can be used. `listening`: by the name of what waits for connections, whether it does."""

    transports: Sequence[Transport]
    listening: Mapping[str, Callable[[], bool]] = attrs.field(factory=dict)


@attrs.frozen
class Row:
    """Transports that are opened together: their names, and the opener."""

    names: tuple[str, ...]
    open: Callable[[Daemon], AbstractAsyncContextManager[Running]]


@asynccontextmanager
async def _audiosocket(daemon: Daemon) -> AsyncIterator[Running]:
    from agentd.audiosocket.transport import listen

    listener, transports = await listen(
        daemon.config, daemon.metrics, daemon.on_stranger, daemon.start, daemon.connections, daemon.clock
    )
    yield Running(transports, {"audiosocket": lambda: listener.listening})


@asynccontextmanager
async def _rtp(daemon: Daemon) -> AsyncIterator[Running]:
    from agentd.rtp.transport import open_rtp

    await trio.lowlevel.checkpoint()
    yield Running((open_rtp(daemon.config, daemon.metrics, daemon.clock),))


@asynccontextmanager
async def _chan_websocket(daemon: Daemon) -> AsyncIterator[Running]:
    from agentd.chan_websocket.listener import open_chan_websocket

    transport, listener = await open_chan_websocket(
        daemon.config, daemon.metrics, daemon.start, daemon.connections, daemon.clock
    )
    yield Running((transport,), {} if listener is None else {"websocket": lambda: listener.listening})


TRANSPORTS = (
    Row(("external", "fork"), _audiosocket),
    Row(("rtp",), _rtp),
    Row(("websocket",), _chan_websocket),
)


def transport_names(rows: Sequence[Row] = TRANSPORTS) -> tuple[str, ...]:
    """The names of all transports, in the order of the table."""
    return tuple(name for row in rows for name in row.names)


@asynccontextmanager
async def open_transports(daemon: Daemon, rows: Sequence[Row] = TRANSPORTS) -> AsyncIterator[Running]:
    """All transports of the table; what they have started runs for as long as the daemon does. Raises OSError when an
    address cannot be bound."""
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(row.open(daemon)) for row in rows]
        yield Running(
            tuple(transport for each in running for transport in each.transports),
            {name: listens for each in running for name, listens in each.listening.items()},
        )
