"""The speech server: a Wyoming server for this host's engines. It decides who may connect, how much is taken, and how
it ends.

wyoming.server.session has what one connection says and hears. Clients are agentd on other hosts, Home Assistant,
and whatever else speaks Wyoming; none is trusted: Wyoming has neither passwords nor encryption.
"""

from contextlib import suppress

import attrs
import structlog
import trio

from agentd.accepting import accept_connections, open_listeners
from agentd.allow_list import address_of, is_allowed
from agentd.errors import ProviderError, ProviderUnavailable
from agentd_providers.wyoming.connection import WyomingConnection
from agentd_providers.wyoming.protocol import BUSY, error
from agentd_providers.wyoming.server.engines import Engines
from agentd_providers.wyoming.server.metrics import SpeechMetrics
from agentd_providers.wyoming.server.session import SpeechSession
from agentd_providers.wyoming.server.settings import SpeechServerSettings

log = structlog.get_logger("agentd_providers.wyoming")

BACKLOG = 128
FAREWELL = 1.0
"""Seconds that a last word to a client may take."""


@attrs.define(eq=False)
class SpeechServer:
    """Serves `engines` as `settings` say. Its port may be served again after a failure, by the same object."""

    settings: SpeechServerSettings
    engines: Engines
    metrics: SpeechMetrics
    listening: bool = attrs.field(default=False, init=False)
    draining: bool = attrs.field(default=False, init=False)
    _sessions: dict[SpeechSession, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _empty: trio.Event = attrs.field(factory=trio.Event, init=False)
    _accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _port: int = attrs.field(default=0, init=False)
    """The one that was bound: a free one is chosen once."""

    @property
    def connections(self) -> int:
        return len(self._sessions)

    async def run(
        self, connections: trio.Nursery, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take connections, which are served in `connections`, until cancelled or drained; `started` gives the port
        that was bound. Connections that are open outlive it.

        Raises OSError when the address cannot be bound, or the port is broken.
        """
        host, port = self.settings.host, self._port or self.settings.port
        listeners = await open_listeners(host, port, BACKLOG)
        self._port = listeners[0].socket.getsockname()[1]
        self._accepting = trio.CancelScope()
        with self._accepting:
            try:
                self.listening = True
                task_status.started(self._port)
                if not self.draining:
                    await accept_connections("speech server", listeners, self._handle, connections)
            finally:
                self.listening = False

    async def drain(self, deadline: float) -> None:
        """Take no more connections, let the requests that run be answered within `deadline` seconds, and close."""
        self.draining = True
        self._accepting.cancel()
        for session, scope in self._sessions.items():
            if not session.working:
                scope.cancel()
        with trio.move_on_after(deadline):
            while self._sessions:
                self._empty = trio.Event()
                await self._empty.wait()
        for scope in self._sessions.values():
            scope.cancel()

    async def _handle(self, stream: trio.SocketStream) -> None:
        """One connection from its first byte to its close (accept_connections closes the stream afterwards)."""
        peer = address_of(stream)
        connection = WyomingConnection(peer, stream)
        if not is_allowed(peer, self.settings.allowed_networks):
            self._refuse("not_allowed", peer)
            return
        if self.connections >= self.settings.max_connections:
            self._refuse("too_many", peer)
            with suppress(ProviderUnavailable):
                await connection.send(error(f"{self.connections} connections are open already", BUSY), FAREWELL)
            return
        session = SpeechSession(connection, self.settings, self.engines, self.metrics, lambda: self.draining)
        with trio.CancelScope() as scope:
            self._sessions[session] = scope
            self.metrics.connections.set(self.connections)
            try:
                await session.run()
            except ProviderError as fault:
                self.metrics.broken.inc()
                log.info("speech connection ended by a fault", peer=peer, error=str(fault))
            finally:
                session.close()
                del self._sessions[session]
                self.metrics.connections.set(self.connections)
                if not self._sessions:
                    self._empty.set()

    def _refuse(self, reason: str, peer: str) -> None:
        self.metrics.refused.labels(reason=reason).inc()
        log.warning("speech connection refused", reason=reason, peer=peer)
