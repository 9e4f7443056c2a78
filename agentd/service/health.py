"""GET /health and GET /metrics: an ASGI application on hypercorn. No caller data in either."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import attrs
import hypercorn.config
import hypercorn.trio
import trio
from prometheus_client import CollectorRegistry, exposition

from agentd import __version__
from agentd.agent import Readiness
from agentd.serving.breaker import Circuit

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


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
    """The daemon's page GET /health. `listening`: of what waits for connections, whether it does."""

    ari_connected: bool
    listening: Mapping[str, bool]
    active_calls: int
    providers: Mapping[str, AgentHealth]
    uptime_seconds: float
    draining: bool = False

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

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started` gives the port. Raises OSError when the address cannot be bound."""
        config = hypercorn.config.Config()
        host = f"[{self.host}]" if ":" in self.host else self.host
        config.bind = [f"{host}:{self.port}"]
        config.accesslog = None
        config.errorlog = None
        config.read_timeout = 10
        config.keep_alive_timeout = 15
        config.graceful_timeout = 1
        config.h11_max_incomplete_size = 16384
        config.include_server_header = False
        async with trio.open_nursery() as nursery:
            binds = await nursery.start(_serve, self._application, config)
            task_status.started(int(binds[0].rpartition(":")[2]))

    async def _application(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, b"method not allowed\n", "text/plain")
        elif scope["path"] == "/health":
            report = self.report()
            body = json.dumps(report.as_json()).encode() + b"\n"
            await _answer(send, 200 if report.healthy else 503, body, "application/json")
        elif scope["path"] == "/metrics":
            body = exposition.generate_latest(self.metrics.registry)
            await _answer(send, 200, body, exposition.CONTENT_TYPE_PLAIN_0_0_4)
        else:
            await _answer(send, 404, b"there are /health and /metrics\n", "text/plain")


async def _serve(  # noqa: ASYNC128 - passes task_status on
    application: Any, config: hypercorn.config.Config, *, task_status: trio.TaskStatus[list[str]]
) -> None:
    await hypercorn.trio.serve(application, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)


async def _live(receive: Receive, send: Send) -> None:
    """ASGI's lifespan protocol; we have nothing to prepare."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _answer(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
