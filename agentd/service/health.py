"""GET /health and GET /metrics. No caller data in either."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs
import trio
from prometheus_client import CollectorRegistry, Metric, exposition
from prometheus_client.registry import Collector

from agentd import __version__
from agentd.agent import Readiness
from agentd.service.http1 import Page
from agentd.service.page_server import PageServer
from agentd.serving.breaker import Circuit


@attrs.frozen
class AgentHealth:
    """One agent: whether it can take a call, and where its circuit breaker stands (with why, unless closed)."""

    readiness: Readiness
    circuit: Circuit = Circuit.CLOSED
    circuit_reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "ready": self.readiness.ready,
            "detail": self.readiness.detail,
            "circuit": str(self.circuit),
            "circuit_reason": self.circuit_reason,
        }


class Report(Protocol):
    """The page GET /health, which answers 200 while `healthy`, else 503."""

    @property
    def healthy(self) -> bool: ...

    def as_json(self) -> dict[str, Any]: ...


class Exported(Protocol):
    """The page GET /metrics."""

    @property
    def registry(self) -> CollectorRegistry: ...


@attrs.frozen
class HealthReport:
    """The daemon's page GET /health. `listening`: of what waits for connections, whether it does. `media_trouble`: why
    no audio file can be written for Asterisk; calls stream then, and announcements are sounds of Asterisk's own."""

    ari_connected: bool
    listening: Mapping[str, bool]
    active_calls: int
    providers: Mapping[str, AgentHealth]
    uptime_seconds: float
    draining: bool = False
    media_trouble: str = ""

    @property
    def healthy(self) -> bool:
        """False when calls could not be served: ARI, a listener or every agent is down."""
        agents = any(agent.readiness.ready for agent in self.providers.values())
        return self.ari_connected and all(self.listening.values()) and agents

    def as_json(self) -> dict[str, Any]:
        return {
            "status": "ok" if self.healthy else "unavailable",
            "ari_connected": self.ari_connected,
            **{f"{name}_listening": listens for name, listens in self.listening.items()},
            "active_calls": self.active_calls,
            "providers": {name: agent.as_json() for name, agent in self.providers.items()},
            "draining": self.draining,
            "media_trouble": self.media_trouble,
            "uptime_seconds": round(self.uptime_seconds, 1),
            "version": __version__,
        }


@attrs.frozen
class HealthServer:
    """Serves the two pages on `host`:`port`; `report` is asked at every request."""

    host: str
    port: int
    report: Callable[[], Report]
    metrics: Exported

    async def run(  # noqa: ASYNC128 - passes task_status on
        self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; `started` gives the port. Raises OSError when the address cannot be bound."""
        pages = {"/health": self._health, "/metrics": MetricsPage(self.metrics.registry).make}
        await PageServer(self.host, self.port, pages).run(task_status=task_status)

    async def _health(self) -> Page:
        await trio.lowlevel.checkpoint()
        report = self.report()
        body = json.dumps(report.as_json()).encode() + b"\n"
        return Page(body, "application/json", 200 if report.healthy else 503)


@attrs.define(eq=False)
class MetricsPage:
    """All of a registry as Prometheus reads it.

    It is written a metric at a time, and one page at a time, so that the loop is not held up, however large the
    registry is and however many ask. Whoever has asked before a page was begun shares it.
    """

    registry: CollectorRegistry
    _begun: int = attrs.field(default=0, init=False)
    """Pages that were begun; the number of each."""
    _latest: tuple[int, Page] = attrs.field(default=(0, Page(b"")), init=False)
    _writing: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def make(self) -> Page:
        """A page that is as new as the request."""
        asked_after = self._begun
        async with self._writing:
            if self._latest[0] <= asked_after:
                self._begun += 1
                self._latest = self._begun, await self._write()
            return self._latest[1]

    async def _write(self) -> Page:
        text = []
        for metric in self.registry.collect():
            text.append(exposition.generate_latest(_One(metric)))
            await trio.lowlevel.checkpoint()
        return Page(b"".join(text), exposition.CONTENT_TYPE_PLAIN_0_0_4)


@attrs.frozen
class _One(Collector):
    metric: Metric

    def collect(self) -> Iterable[Metric]:
        return [self.metric]
