"""`agentd speech-server` as a whole: what may end it, and what signals do."""

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import structlog
import trio

from agentd.service import speech_server as module
from agentd.service.speech_server import SpeechReport, SpeechService
from agentd.testing.clock import until
from agentd_providers.wyoming.info import Info
from agentd_providers.wyoming.server.engines import Engines
from agentd_providers.wyoming.server.settings import SpeechServerSettings
from tests.shell.service.daemon_scene import Told, free_port, raise_in
from tests.shell.wyoming_peer import Connection, frame

pytestmark = pytest.mark.loopback

WHILE_UP = 30.0
"""Seconds within which a part that raised has to be up again."""


@attrs.define(eq=False)
class Scene:
    """A speech server without an engine."""

    service: SpeechService
    notifier: Told
    port: int
    reports: list[SpeechReport] = attrs.field(factory=list)
    ended: trio.Event = attrs.field(factory=trio.Event)
    task: trio.lowlevel.Task | None = None

    async def run(self) -> None:
        self.task = trio.lowlevel.current_task()
        try:
            await self.service.run()
        finally:
            self.ended.set()

    @property
    def parts(self) -> Sequence[trio.lowlevel.Task]:
        """The children of the root nursery, as the service's task has them."""
        assert self.task is not None
        return sorted(self.task.child_nurseries[-1].child_tasks, key=lambda task: task.name)

    @property
    def down(self) -> list[str]:
        server = self.service._server
        assert server is not None
        return [] if server.listening else ["listener"]

    def restarts(self, part: str) -> float:
        registry = self.service.metrics.registry
        return registry.get_sample_value("agentd_daemon_part_restarts_total", {"part": part}) or 0.0

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Connection]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            yield Connection(stream)


async def pong(client: Connection) -> None:
    """The server answers on this connection."""
    await client.stream.send_all(frame("ping", {"text": "there?"}))
    with trio.fail_after(5):
        answer = await client.read()
    assert answer is not None
    assert answer[0] == "pong"


@asynccontextmanager
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    @asynccontextmanager
    async def none(*_args: object) -> AsyncIterator[Engines]:
        await trio.lowlevel.checkpoint()
        yield Engines(Info())

    monkeypatch.setattr(module, "open_engines", none)
    monkeypatch.setattr(module, "freeze_loaded", lambda: None)  # what is left is for the collector to find
    settings = SpeechServerSettings(port=free_port(), health_port=free_port())
    notifier = Told()
    at = Scene(SpeechService(settings, notifier), notifier, settings.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(at.run)
        await until(lambda: any("READY=1" in told for told in notifier.told))
        yield at
        nursery.cancel_scope.cancel()


async def test_whatever_part_raises_the_server_lives_and_a_connection_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at, at.client() as client:
        await pong(client)
        names = [task.name for task in at.parts]
        assert names == ["beat", "health_page", "listener", "signals", "watchdog"]
        for name in names:
            with structlog.testing.capture_logs() as logs:
                (task,) = [task for task in at.parts if task.name == name]
                await raise_in(task, RuntimeError("injected"))
                await until(lambda: at.restarts(name) == 1)  # noqa: B023
                assert not at.ended.is_set()
                await until(lambda: not at.down, WHILE_UP)
                await trio.sleep(1.0)
                await pong(client)
                async with at.client() as another:
                    await pong(another)
            assert len([log for log in logs if log.get("exc_info")]) == 1, (name, logs)


async def test_it_says_meanwhile_that_a_part_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[SpeechReport] = []
    made = module.SpeechReport
    monkeypatch.setattr(module, "SpeechReport", lambda *given: reports.append(made(*given)) or reports[-1])
    async with scene(monkeypatch) as at:
        (task,) = [task for task in at.parts if task.name == "watchdog"]
        with structlog.testing.capture_logs():
            await raise_in(task, RuntimeError("injected"))
            await until(lambda: at.restarts("watchdog") == 1)
            assert await status(at) == 503
            assert not reports[-1].parts["watchdog"].up
            await trio.sleep(1.0)
            assert await status(at) == 200
        assert reports[-1].as_json()["parts"]["watchdog"]["restarts"] == 1


async def test_a_signal_ends_it_also_after_who_heeds_signals_had_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as at, at.client() as client:
        await pong(client)
        with structlog.testing.capture_logs():
            (task,) = [task for task in at.parts if task.name == "signals"]
            await raise_in(task, RuntimeError("injected"))
            await until(lambda: at.restarts("signals") == 1)
            os.kill(os.getpid(), signal.SIGTERM)
            await until(at.ended.is_set, WHILE_UP)
        assert await client.read() is None


async def status(at: Scene) -> int:
    """What the health page answers with."""
    async with await trio.open_tcp_stream("127.0.0.1", at.service.settings.health_port) as stream:
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with trio.fail_after(5):
            return int((await stream.receive_some(4096)).split()[1])
