"""A whole daemon with a PBX that is none: its supervisor, an agent that says what the test wants, callers over TCP."""

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import outcome
import pytest
import trio

from agentd.agent import Agent
from agentd.config.secrets import Secret
from agentd.config.settings import AgentConfig, Asterisk, AudioSocket, Config, Health, Liveness, Media
from agentd.errors import ProviderUnavailable
from agentd.service import supervisor as module
from agentd.service.health import HealthServer
from agentd.service.notify import Notifier
from agentd.service.supervisor import Supervisor
from agentd.testing._ari_server import PASSWORD, Request
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing._lines import audio_frame, uuid_frame
from agentd.testing.clock import until
from agentd_providers.shared import SharedServices
from tests.shell.fakes import FakeAgent

CALLER = "1700000000.1"
QUIET = AgentConfig(liveness=Liveness(check_in_after=0.0))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def raise_in(task: trio.lowlevel.Task, error: Exception) -> None:
    """Have a task raise where it waits, as if what it waits for had."""
    while task._abort_func is None:  # it works just now
        await trio.lowlevel.checkpoint()
    task._attempt_abort(outcome.Error(error).unwrap)


@attrs.define(eq=False)
class Told(Notifier):
    """What systemd was told, in order."""

    told: list[str] = attrs.field(factory=list)

    def _send(self, message: str) -> None:
        self.told += message.split("\n")


@attrs.define(eq=False)
class Provider:
    """Provides the agents of the configuration by name. `opening` runs first, and may wait or raise."""

    agents: dict[str, FakeAgent] = attrs.field(factory=dict)
    opening: Callable[[], Any] = trio.lowlevel.checkpoint

    @asynccontextmanager
    async def open(self, name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[Agent]:
        await self.opening()
        if name not in self.agents:
            raise ProviderUnavailable(f"there is no {name}")
        async with shared.use(("engine", name), self._engine, "engine"):
            yield self.agents[name]

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[object]:
        await trio.lowlevel.checkpoint()
        yield object()


@attrs.define(eq=False)
class DaemonScene:
    asterisk: FakeAsterisk
    config: Config
    nursery: trio.Nursery
    provider: Provider = attrs.field(factory=lambda: Provider({"default": FakeAgent()}))
    notifier: Told = attrs.field(factory=Told)
    supervisor: Supervisor = attrs.field(init=False)
    pages: list[HealthServer] = attrs.field(factory=list)
    frozen: list[int] = attrs.field(factory=list)
    """The event streams that Asterisk had when the daemon froze what was loaded; each time another number."""
    heard: dict[str, int] = attrs.field(factory=dict)
    """Bytes that the line of each leg has carried to its caller."""
    ended: trio.Event = attrs.field(factory=trio.Event)
    task: trio.lowlevel.Task | None = None
    """The supervisor's."""

    def __attrs_post_init__(self) -> None:
        self.supervisor = Supervisor(
            self.config, Secret("AGENTD_ARI_PASSWORD", PASSWORD), lambda: self.config, self.notifier
        )
        self.asterisk.on_media = self._on_media

    @property
    def agent(self) -> FakeAgent:
        return self.provider.agents["default"]

    async def run(self) -> None:
        """The daemon's whole life."""
        self.task = trio.lowlevel.current_task()
        try:
            await self.supervisor.run()
        finally:
            self.ended.set()

    async def up(self) -> None:
        self.nursery.start_soon(self.run)
        await until(lambda: "READY=1" in self.notifier.told)
        await until(lambda: self.asterisk.sockets)

    @property
    def report(self) -> Any:
        return self.pages[-1].report()

    def restarts(self, part: str) -> float:
        registry = self.supervisor.metrics.registry
        return registry.get_sample_value("agentd_daemon_part_restarts_total", {"part": part}) or 0.0

    def parts(self) -> Sequence[trio.lowlevel.Task]:
        """The children of the root nursery, as the daemon's task has them."""
        assert self.task is not None
        return sorted(self.task.child_nurseries[-1].child_tasks, key=lambda task: task.name)

    async def call(self, caller: str = CALLER, *arguments: str) -> None:
        """A caller enters the application by Stasis(agentd,arguments)."""
        self.asterisk.enter(caller)
        await self.asterisk.push("StasisStart", args=list(arguments), channel={"id": caller, "name": "PJSIP/alice-1"})

    async def hang_up(self, caller: str = CALLER) -> None:
        self.asterisk.gone(caller)
        await self.asterisk.push("StasisEnd", channel={"id": caller})

    def left_with(self, caller: str = CALLER) -> str | None:
        return self.asterisk.variables[caller]["AGENTD_RESULT"] if caller in self.asterisk.continued else None

    def _on_media(self, uuid: str, request: Request) -> None:
        self.nursery.start_soon(self._line, UUID(uuid), request.params["external_host"])

    async def _line(self, uuid: UUID, address: str) -> None:
        """Asterisk's end of a leg, for as long as the connection lasts."""
        host, _, port = address.rpartition(":")
        try:
            async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
                await stream.send_all(uuid_frame(uuid))
                nursery.start_soon(self._speak, stream)
                while data := await stream.receive_some(4096):
                    self.heard[str(uuid)] = self.heard.get(str(uuid), 0) + len(data)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, OSError):
            pass  # agentd is gone

    async def _speak(self, stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(audio_frame())
            await trio.sleep(0.02)


@asynccontextmanager
async def daemon_scene(
    path: Path, monkeypatch: pytest.MonkeyPatch, agents: dict[str, AgentConfig] | None = None, **config: Any
) -> AsyncIterator[DaemonScene]:
    """A daemon that is yet to be started, and a PBX that runs; whatever still runs ends with the block."""
    asterisk = FakeAsterisk()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(asterisk.serve)
        settings = {
            "asterisk": Asterisk(url=url),
            "audiosocket": AudioSocket(port=0),
            "media": Media(str(path)),
            "health": Health("127.0.0.1", free_port()),
            "agents": agents or {"default": QUIET},
            **config,
        }
        scene = DaemonScene(asterisk, Config(**settings), nursery)

        def page(*given: Any) -> HealthServer:
            scene.pages.append(HealthServer(*given))
            return scene.pages[-1]

        monkeypatch.setattr(module, "HealthServer", page)
        monkeypatch.setattr(module, "find_provider", lambda name: scene.provider)
        # What these tests leave is for the collector to find (tests.left_behind).
        monkeypatch.setattr(module, "freeze_loaded", lambda: scene.frozen.append(len(asterisk.sockets)))
        yield scene
        nursery.cancel_scope.cancel()
