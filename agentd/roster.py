"""The agents that are configured: opened, kept, replaced on reload, and closed with their last call."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import structlog
import trio

from agentd.agent import Agent, Readiness
from agentd.config import AgentConfig
from agentd.errors import AgentdError, ProviderError
from agentd.metrics import Metrics
from agentd.playback.contract import Announcement

log = structlog.get_logger("agentd.roster")

FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
ANNOUNCEMENT_DEADLINE = 30.0

OpenAgent = Callable[[str, AgentConfig], AbstractAsyncContextManager[Agent]]


@attrs.define(eq=False)
class Entry:
    """One configured agent. `agent` is None while it cannot be opened (`failure` says why)."""

    name: str
    config: AgentConfig
    agent: Agent | None = None
    failure: str = "is being opened"
    announcements: dict[str, Announcement] = attrs.field(factory=dict)
    attempted: trio.Event = attrs.field(factory=trio.Event)
    _users: int = 0
    _retired: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def readiness(self) -> Readiness:
        if self.agent is None:
            return Readiness(False, self.failure)
        return self.agent.readiness

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[Agent]:
        """The agent for one call; a reload does not close it under the call."""
        assert self.agent is not None
        self._users += 1
        try:
            yield self.agent
        finally:
            self._users -= 1
            self._changed.set()

    def retire(self) -> None:
        """Take no more calls; close once the last one has ended."""
        self._retired = True
        self._changed.set()

    async def until_unused(self) -> None:
        while not (self._retired and not self._users):
            await self._changed.wait()
            self._changed = trio.Event()


@attrs.define(eq=False)
class Roster:
    """Keeps the configured agents open. An agent that cannot be opened is tried again with back-off."""

    open_agent: OpenAgent
    metrics: Metrics
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _entries: dict[str, Entry] = attrs.field(factory=dict, init=False)
    """Who takes calls."""
    _wanted: dict[str, Entry] = attrs.field(factory=dict, init=False)
    """Who should: another one only while a changed agent cannot be opened."""

    async def run(
        self,
        agents: Mapping[str, AgentConfig],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep agents until cancelled; `started` once each has been tried for the first time."""
        async with trio.open_nursery() as self._nursery:
            await self.replace(agents)
            task_status.started()
            await trio.sleep_forever()

    def find(self, name: str) -> Entry | None:
        """The agent of this name, ready or not."""
        return self._entries.get(name)

    @property
    def readiness(self) -> dict[str, Readiness]:
        return {name: entry.readiness for name, entry in self._entries.items()}

    async def replace(self, agents: Mapping[str, AgentConfig]) -> None:
        """Make these the agents of new calls. An agent whose configuration did not change is kept as it is;
        a changed one takes over once it is open, be that later; running calls keep the agent they have."""
        assert self._nursery is not None
        fresh = {
            name: Entry(name, config)
            for name, config in agents.items()
            if name not in self._wanted or self._wanted[name].config != config
        }
        for name in [name for name in self._wanted if name in fresh or name not in agents]:
            if (outdated := self._wanted.pop(name)) is not self._entries.get(name):
                outdated.retire()
        self._wanted.update(fresh)
        for entry in fresh.values():
            self._nursery.start_soon(self._keep, entry)
        for entry in fresh.values():
            await entry.attempted.wait()
        for name in [name for name in self._entries if name not in agents]:
            self._entries.pop(name).retire()
            self.metrics.agent_ready.remove(name)
        for name, entry in fresh.items():
            self._entries.setdefault(name, entry)

    def _take_over(self, entry: Entry) -> None:
        if self._wanted.get(entry.name) is not entry:
            return
        before = self._entries.get(entry.name)
        self._entries[entry.name] = entry
        if before is not None and before is not entry:
            before.retire()
        self.metrics.agent_ready.labels(agent=entry.name).set(1)

    async def _keep(self, entry: Entry) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                async with self.open_agent(entry.name, entry.config) as agent:
                    await self._prepare(entry, agent)
                    entry.agent, entry.failure = agent, ""
                    self._take_over(entry)
                    entry.attempted.set()
                    await entry.until_unused()
                    return
            except AgentdError as error:
                entry.agent, entry.failure = None, str(error)
                if self._entries.get(entry.name, entry) is entry:
                    self.metrics.agent_ready.labels(agent=entry.name).set(0)
                log.error("agent cannot be opened", agent=entry.name, error=str(error), retry_in_s=delay)
            entry.attempted.set()
            with trio.move_on_after(delay):
                await entry.until_unused()
                return
            delay = min(delay * 2, LONGEST_DELAY)

    async def _prepare(self, entry: Entry, agent: Agent) -> None:
        """Have the announcements spoken beforehand: when they are needed, the voice may be what is broken."""
        for name, words in (
            ("failure", entry.config.failure_announcement),
            ("shutdown", entry.config.shutdown_announcement),
            ("silence", entry.config.liveness.silence_farewell),
            ("duration", entry.config.liveness.duration_farewell),
        ):
            if not words:
                continue
            try:
                with trio.fail_after(ANNOUNCEMENT_DEADLINE):
                    entry.announcements[name] = Announcement(audio=tuple(await agent.synthesise(words)))
            except (ProviderError, trio.TooSlowError) as error:
                log.warning("announcement cannot be spoken", agent=entry.name, which=name, error=str(error))
