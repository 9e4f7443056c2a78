"""GET /health and GET /metrics over a real port."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Counter, Metric, exposition

from agentd import __version__
from agentd.agent import Readiness
from agentd.metrics import Metrics
from agentd.service.health import HealthServer, MetricsPage
from agentd.service.http1 import Page
from agentd.service.report import AgentHealth, HealthReport, PartHealth, Phase
from agentd.serving.breaker import Circuit

pytestmark = pytest.mark.loopback

UP = AgentHealth(Readiness(True))
DOWN = AgentHealth(Readiness(False, "the model is missing"), Circuit.OPEN, "no route")
REPORT = HealthReport(
    ari_connected=True,
    listening={"audiosocket": True},
    active_calls=3,
    providers={"default": UP, "sales": DOWN},
    uptime_seconds=12.34,
    parts={"ari_pump": PartHealth(True, "the stream broke", 2)},
)


@attrs.define
class Pages:
    report: HealthReport
    metrics: Metrics
    client: httpx.AsyncClient = attrs.field(init=False)
    port: int = 0

    async def get(self, path: str) -> httpx.Response:
        with trio.fail_after(5):
            return await self.client.get(path)


@asynccontextmanager
async def served(report: HealthReport = REPORT) -> AsyncIterator[Pages]:
    pages = Pages(report, Metrics())
    server = HealthServer("127.0.0.1", 0, lambda: pages.report, pages.metrics)
    async with trio.open_nursery() as nursery:
        pages.port = await nursery.start(server.run)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pages.port}", trust_env=False) as pages.client:
            yield pages
        nursery.cancel_scope.cancel()


async def test_health_tells_what_an_operator_asks_and_nothing_of_callers() -> None:
    async with served() as pages:
        answer = await pages.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "status": "ok",
        "ari_connected": True,
        "ari_trouble": "",
        "audiosocket_listening": True,
        "active_calls": 3,
        "waiting_callers": 0,
        "providers": {
            "default": {"ready": True, "detail": "", "circuit": "closed", "circuit_reason": ""},
            "sales": {
                "ready": False,
                "detail": "the model is missing",
                "circuit": "open",
                "circuit_reason": "no route",
            },
        },
        "parts": {"ari_pump": {"up": True, "detail": "the stream broke", "restarts": 2}},
        "draining": False,
        "media_trouble": "",
        "uptime_seconds": 12.3,
        "version": __version__,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"ari_connected": False},
        {"listening": {"audiosocket": False}},
        {"providers": {"default": DOWN, "sales": DOWN}},
        {"providers": {}},
        {"parts": {"ari_pump": PartHealth(True), "roster": PartHealth(False, "no memory", 1)}},
        {"ari_trouble": "the ARI user may not write"},
    ],
    ids=["no ARI", "no listener", "every agent down", "no agent", "a part is down", "no right to write"],
)
async def test_health_is_503_when_no_call_could_be_served(change: dict[str, object]) -> None:
    async with served(attrs.evolve(REPORT, **change)) as pages:
        answer = await pages.get("/health")
        assert answer.status_code == 503
        assert answer.json()["status"] == "unavailable"
        pages.report = REPORT
        assert (await pages.get("/health")).status_code == 200, "asked anew at every request"


async def test_a_draining_daemon_says_so_and_is_healthy() -> None:
    async with served(attrs.evolve(REPORT, phase=Phase.DRAINING)) as pages:
        answer = await pages.get("/health")
    assert (answer.status_code, answer.json()["draining"]) == (200, True)


async def test_metrics_are_prometheus_text() -> None:
    async with served() as pages:
        pages.metrics.calls.labels(result="completed").inc()
        answer = await pages.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'agentd_calls_total{result="completed"} 1.0' in answer.text
    assert "agentd_ari_connected 0.0" in answer.text


async def test_the_metrics_page_leaves_the_loop_to_others_between_two_metrics() -> None:
    """However large a registry is, a call's next frame waits for one metric's lines at most."""
    registry = Metrics().registry
    turns = 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(somebody_else)
        page = await MetricsPage(registry).make()
        nursery.cancel_scope.cancel()
    assert page.body == exposition.generate_latest(registry)
    assert turns >= len([*registry.collect()])


async def test_however_many_ask_for_metrics_one_page_is_written_at_a_time_and_is_as_new_as_the_question() -> None:
    registry = CollectorRegistry()
    written = Counter("written", "Pages.", registry=registry)
    collect, begun = registry.collect, 0

    def counted() -> Iterable[Metric]:
        nonlocal begun
        begun += 1
        written.inc()
        yield from collect()

    registry.collect = counted  # type: ignore[method-assign]
    pages: list[Page] = []
    metrics = MetricsPage(registry)

    async def ask() -> None:
        pages.append(await metrics.make())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert begun <= 2
    newest = f"written_total {begun + 1}.0\n".encode()
    assert newest in (await metrics.make()).body


@pytest.mark.parametrize("path", ["/", "/health/", "/healthz", "/metrics/../etc/passwd", "/calls"])
async def test_there_are_no_other_pages(path: str) -> None:
    async with served() as pages:
        answer = await pages.get(path)
    assert (answer.status_code, answer.text) == (404, "there are /health and /metrics\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_there_is_nothing_but_to_read(method: str) -> None:
    async with served() as pages:
        with trio.fail_after(5):
            answer = await pages.client.request(method, "/health")
    assert answer.status_code == 405


async def test_head_gives_the_status_without_the_body() -> None:
    async with served() as pages:
        with trio.fail_after(5):
            answer = await pages.client.head("/health")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_many_probes_at_once_are_answered() -> None:
    async with served() as pages, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(pages.get, "/health")


async def test_rubbish_on_the_port_harms_nobody() -> None:
    async with served() as pages:
        async with await trio.open_tcp_stream("127.0.0.1", pages.port) as stream:
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        async with await trio.open_tcp_stream("127.0.0.1", pages.port) as stream:
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000)
        assert (await pages.get("/health")).status_code == 200


async def test_a_port_that_is_taken_is_an_error_at_start() -> None:
    async with served() as pages:
        other = HealthServer("127.0.0.1", pages.port, lambda: REPORT, Metrics())
        with pytest.raises(OSError):
            await other.run()


def test_the_report_is_json_whatever_is_in_it() -> None:
    assert json.dumps(attrs.evolve(REPORT, providers={}).as_json())
