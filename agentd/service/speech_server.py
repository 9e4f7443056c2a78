"""`agentd speech-server`: lends this host's speech engines to other hosts. The parts that run for as long as it does.

The server itself is agentd_providers.wyoming.server.server.
"""

import signal
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import structlog
import trio

from agentd import __version__, deadlines
from agentd.service.collector import freeze_loaded
from agentd.service.health import HealthServer
from agentd.service.logs import count_lost_lines
from agentd.service.notify import Notifier
from agentd.service.parts import Parts
from agentd.service.report import PartHealth
from agentd.service.watchdog import ProgressWatch, feed_watchdog
from agentd_providers.wyoming.server.engines import open_engines
from agentd_providers.wyoming.server.metrics import SpeechMetrics
from agentd_providers.wyoming.server.server import SpeechServer
from agentd_providers.wyoming.server.settings import SpeechServerSettings

log = structlog.get_logger("agentd.speech_server")

LISTENER = "listener"
LISTENER_LIMIT = deadlines.LISTENER_PROGRESS.seconds
"""Seconds without progress after which the watchdog is fed no more."""


@attrs.frozen
class SpeechReport:
    """The speech server's page GET /health; `server` is None while engines are being loaded. `parts`: how each part of
    the process is, by name."""

    server: SpeechServer | None
    uptime_seconds: float
    parts: Mapping[str, PartHealth] = {}

    @property
    def healthy(self) -> bool:
        server = self.server
        if server is None or server.draining or not server.listening:
            return False
        return all(part.up for part in self.parts.values()) and all(
            pool.readiness.ready for pool in server.engines.pools
        )

    def as_json(self) -> dict[str, Any]:
        server = self.server
        pools = {pool.engine: pool for pool in server.engines.pools} if server is not None else {}
        return {
            "status": "ok" if self.healthy else "unavailable",
            "engines": {
                name: {
                    "processes": len(pool.workers),
                    "busy": pool.busy,
                    "waiting": pool.waiting,
                    "detail": pool.readiness.detail,
                }
                for name, pool in pools.items()
            },
            "connections": server.connections if server is not None else 0,
            "draining": server is not None and server.draining,
            "parts": {name: part.as_json() for name, part in self.parts.items()},
            "uptime_seconds": round(self.uptime_seconds, 1),
            "version": __version__,
        }


@attrs.define(eq=False)
class SpeechService:
    """The process: engines, server, health pages, systemd."""

    settings: SpeechServerSettings
    notifier: Notifier
    metrics: SpeechMetrics = attrs.field(factory=SpeechMetrics, init=False)
    _server: SpeechServer | None = attrs.field(default=None, init=False)
    _drained: trio.Event = attrs.field(factory=trio.Event, init=False)
    _started_at: float = attrs.field(default=0.0, init=False)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; returns once everything is put away.

        Raises OSError when an address cannot be bound, ProviderError when an engine cannot be loaded.
        """
        count_lost_lines(self.metrics.log_lines_lost)
        self._started_at = trio.current_time()
        settings = self.settings
        watch = ProgressWatch({LISTENER: LISTENER_LIMIT}, started=self._started_at)
        watch.rest(LISTENER)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            # A connection outlives whatever part fails: they are no parts, and contain what they raise themselves.
            async with trio.open_nursery() as connections, trio.open_nursery() as nursery:
                parts = Parts(nursery, self.metrics)
                health = HealthServer(
                    settings.health_host, settings.health_port, partial(self._report, parts), self.metrics
                )
                health_port = await parts.start(health.run, name="health_page")
                parts.start_soon(feed_watchdog, self.notifier, watch, name="watchdog")
                parts.start_soon(self._await_stop, signals, nursery.cancel_scope, name="signals")
                self.notifier.status("loading engines")
                async with open_engines(settings, self.metrics) as engines:
                    server = SpeechServer(settings, engines, self.metrics)
                    freeze_loaded()
                    port = await parts.start(server.run, connections, name=LISTENER)
                    self._server = server
                    parts.start_soon(_beat_listener, server, parts, watch, name="beat")
                    log.info("speech server is up", version=__version__, port=port, health_port=health_port)
                    self.notifier.ready("serving speech")
                    await self._drained.wait()
                connections.cancel_scope.cancel()
                nursery.cancel_scope.cancel()
        log.info("speech server has ended")

    async def _await_stop(self, signals: Any, service: trio.CancelScope) -> None:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            self.notifier.stopping()
            if self._server is None:
                service.cancel()
            else:
                await self._server.drain(self.settings.drain_timeout)
                self._drained.set()
            return

    def _report(self, parts: Parts) -> SpeechReport:
        return SpeechReport(self._server, trio.current_time() - self._started_at, parts.health)


async def _beat_listener(server: SpeechServer, parts: Parts, watch: ProgressWatch) -> None:
    """The watchdog is for what hangs: a listener that failed is about to be started again."""
    while True:
        if server.listening or server.draining or parts.down:
            watch.beat(LISTENER, trio.current_time())
        await trio.sleep(LISTENER_LIMIT / 4)
