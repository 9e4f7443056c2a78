"""A reception and everything that it needs: a PBX in memory, agents that are none, no real port."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.agent import Agent
from agentd.ari.client import AriClient
from agentd.ari.events import Channel, StasisEnd, StasisStart
from agentd.audiosocket.listener import Admission
from agentd.config.settings import AgentConfig, Config, Liveness
from agentd.errors import ProviderUnavailable
from agentd.metrics import Metrics
from agentd.playback.directory import MediaDirectory
from agentd.service.reception import Reception
from agentd.service.recorder import Recorder
from agentd.service.stays import LINE_CLOCK
from agentd.service.watchdog import ProgressWatch
from agentd.serving.roster import Roster
from agentd.testing._ari_server import PASSWORD, USER
from agentd.testing._asterisk import FakeAsterisk
from agentd.testing._lines import Line, Lines, make_line
from agentd.tools.registry import Toolbox
from agentd.transports import transport_names
from tests.shell.fakes import FakeAgent, FakeSession

CALLER = "1700000000.1"
QUIET = AgentConfig(liveness=Liveness(check_in_after=0.0))
"""An agent whose callers may be silent for as long as they like."""


@attrs.define(eq=False)
class FrontDesk:
    """`agents` are those that can be opened, by name."""

    asterisk: FakeAsterisk
    client: AriClient
    lines: Lines
    agents: dict[str, FakeAgent]
    reception: Reception

    @property
    def metrics(self) -> Metrics:
        return self.reception.metrics

    @property
    def agent(self) -> FakeAgent:
        return self.agents["default"]

    @property
    def session(self) -> FakeSession:
        return self.agent.session

    @property
    def playing_clock(self) -> bool:
        """Whether the watchdog expects the line's clock to go on."""
        return bool(self.reception.watch.stale(trio.current_time() + 1e6))

    def results(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("agentd_calls_total", {"result": result}) or 0.0

    def refused(self, cause: str) -> float:
        """Callers who were not let in."""
        return self.metrics.registry.get_sample_value("agentd_callers_refused_total", {"cause": cause}) or 0.0

    def call(self, *arguments: str, caller: str = CALLER) -> None:
        """A caller enters the application by Stasis(agentd,arguments)."""
        self.asterisk.enter(caller)
        self.client.on_call(StasisStart(Channel(caller), arguments))

    def hang_up(self, caller: str = CALLER) -> None:
        self.asterisk.gone(caller)
        if route := self.client.routes.get(caller):
            route.put(StasisEnd(Channel(caller)))

    def stranger(self, uuid: UUID | None = None) -> tuple[Line, bool]:
        """A connection that no call expects, and whether it became one."""
        line = make_line(uuid or uuid4(), self.metrics)
        taken = self.reception.on_stranger(line.uuid, line.connection)
        if taken:
            self.lines.all.append(line)
        return line, taken

    def left_with(self, caller: str = CALLER) -> str | None:
        if caller not in self.asterisk.continued:
            return None
        return self.asterisk.variables[caller]["AGENTD_RESULT"]

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(120):
            while not condition():
                await trio.sleep(0.005)

    async def over(self) -> None:
        """Until every call that has come has ended."""
        await wait_all_tasks_blocked()
        await self.until(lambda: not self.reception.stays.present)

    def nothing_is_left(self) -> None:
        assert self.reception.stays.present == self.reception.stays.active == self.reception.line.length == 0
        assert self.reception.line._under_way == self.reception.line._refused == 0
        assert self.client.rest._places.taken == 0
        assert not self.reception.stays._calls
        assert not self.client.routes
        assert not self.asterisk.bridges
        assert not [channel for channel in self.asterisk.channels if channel.startswith("agentd-leg-")]
        assert all(line.released for line in self.lines.all)
        assert not self.lines.admission._expected
        assert all(agent.closed == agent.opened for agent in self.agents.values())
        assert not self.playing_clock
        assert self.metrics.registry.get_sample_value("agentd_calls_active") == 0


@asynccontextmanager
async def open_for_callers(
    path: Path, agents: Mapping[str, AgentConfig] | None = None, shut: tuple[str, ...] = (), **config: Any
) -> AsyncIterator[FrontDesk]:
    """Callers are taken for as long as the block runs; by then every call must have come to its end.

    Agents named in `shut` cannot be opened.
    """
    configured = {"default": QUIET} if agents is None else dict(agents)
    metrics, asterisk, admission = Metrics(), FakeAsterisk(), Admission()
    lines = Lines(admission, metrics)
    asterisk.on_media = lambda uuid, request: lines.connect(UUID(uuid))
    known = {name: FakeAgent() for name in configured}

    @asynccontextmanager
    async def open_agent(name: str, _config: AgentConfig) -> AsyncIterator[Agent]:
        await trio.lowlevel.checkpoint()
        if name in shut:
            raise ProviderUnavailable("the model is missing")
        yield known[name]

    async with trio.open_nursery() as nursery:
        roster = Roster(open_agent, metrics, nursery)
        client = AriClient(
            "http://asterisk.test", USER, PASSWORD, "agentd", asterisk.rest(metrics), metrics, lambda start: None
        )
        reception = Reception(
            nursery,
            client,
            roster,
            MediaDirectory(path, "test"),
            metrics,
            ProgressWatch({LINE_CLOCK: 10.0}, 0.0),
            Config(agents=configured, **config),
            Toolbox({}, {}),
            Recorder(None, metrics),
        )
        wideband = lambda: reception.config.audiosocket.wideband  # noqa: E731
        reception.transports = {name: lines.transport(name, wideband=wideband) for name in transport_names()}
        reception.watch.rest(LINE_CLOCK)
        client.on_call = reception.on_call
        nursery.start_soon(client.hand_backs.run)
        await roster.replace(configured)
        desk = FrontDesk(asterisk, client, lines, known, reception)
        yield desk
        with trio.fail_after(120):
            while reception.stays.present:
                await trio.sleep(0.01)
        desk.nothing_is_left()
        nursery.cancel_scope.cancel()
