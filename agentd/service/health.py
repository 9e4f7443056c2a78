"""GET /health and GET /metrics. No caller data in either."""

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs
import trio
from prometheus_client import CollectorRegistry, Metric, exposition
from prometheus_client.registry import Collector

from agentd.service.http1 import Page
from agentd.service.page_server import PageServer


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
