"""The agents that are configured: opened, kept, replaced on reload, and closed with their last call."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Protocol

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.agent import Agent, Audio, Readiness
from agentd.config.settings import AgentConfig
from agentd.errors import AgentdError, Failure, ProviderError, contained
from agentd.metrics import Metrics
from agentd.serving.breaker import Circuit, CircuitBreaker
from agentd.serving.candidates import Candidate
from agentd.serving.contained import ContainedAgent
from agentd.tools.registry import Toolbox

log = structlog.get_logger("agentd.roster")

FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
WORDS_DEADLINE = deadlines.FIXED_WORDS.seconds
WORDS_AGAIN, WORDS_AGAIN_LONGEST = 30.0, 600.0
"""Seconds until it is asked again for words that it could not speak; each time twice as long, up to the longest."""
AGAIN_FOR = deadlines.AGENT_AGAIN.seconds
WORDS_AT_ONCE = 2
"""Texts that it is asked for at a time: a voice that several hosts share refuses more than it can work at."""
CIRCUIT_VALUES = {Circuit.CLOSED: 0.0, Circuit.HALF_OPEN: 0.5, Circuit.OPEN: 1.0}

OpenAgent = Callable[[str, AgentConfig], AbstractAsyncContextManager[Agent]]


@attrs.define(eq=False)
class Entry:
    """One configured agent. `agent` is None while it cannot be opened (`failure` says why). `spoken` are words that
    must be exact, or are needed when the agent may be what is broken: their sound by their text."""

    name: str
    config: AgentConfig
    agent: Agent | None = None
    failure: str = "is being opened"
    spoken: dict[str, tuple[Audio, ...]] = attrs.field(factory=dict)
    breaker: CircuitBreaker = attrs.field(factory=CircuitBreaker)
    voice: Agent | None = None
    """The agent as soon as it is open: it speaks for others before it takes calls."""
    attempted: trio.Event = attrs.field(factory=trio.Event)
    voiced: trio.Event = attrs.field(factory=trio.Event)
    """It is open, or has been tried."""
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


@asynccontextmanager
async def in_use(chain: Sequence[Entry], toolbox: Toolbox, *, ari: bool) -> AsyncIterator[list[Candidate]]:
    """The agents of these entries for one call; a reload closes none of them under it."""
    async with AsyncExitStack() as stack:
        yield [
            Candidate(
                entry.name,
                await stack.enter_async_context(entry.in_use()),
                entry.breaker,
                toolbox.of_agent(entry.config, ari=ari),
                entry.spoken,
            )
            for entry in chain
        ]


class Starter(Protocol):
    """A nursery, or who starts a task as one does."""

    def start_soon(self, run: Callable[[Entry], Awaitable[None]], entry: Entry, /, *, name: str) -> None: ...


@attrs.define(eq=False)
class Roster:
    """Keeps the configured agents open. An agent that cannot be opened is tried again with back-off."""

    open_agent: OpenAgent
    metrics: Metrics
    nursery: Starter
    """Where each agent has a task of its own, until it is retired and unused."""
    _entries: dict[str, Entry] = attrs.field(factory=dict, init=False)
    """The entry that takes calls."""
    _wanted: dict[str, Entry] = attrs.field(factory=dict, init=False)
    """The entry that should: another one only while a changed agent cannot be opened."""
    _opening: trio.Event = attrs.field(factory=trio.Event, init=False)
    """The first agents are being opened."""
    _one_more: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set, and another one put in its place, whenever an agent is open."""

    def find(self, name: str) -> Entry | None:
        """The agent of this name, ready or not."""
        return self._entries.get(name)

    def chain(self, name: str) -> list[Entry]:
        """The agent of this name and its fallbacks, in their order: those that are open."""
        if (first := self.find(name)) is None:
            return []
        chain = [first, *(entry for other in first.config.fallback if (entry := self.find(other)) is not None)]
        return [entry for entry in chain if entry.agent is not None]

    async def opened(self, name: str, rate: int) -> list[Entry]:
        """The agent of this name and its fallbacks, those that are open and take audio of `rate` Hz, as soon as it is:
        for a call that is there before the agents. However long an engine takes to load; where the agent cannot be
        opened, or is none of ours, or takes other audio now, its fallbacks are waited for. Where none of them can be
        opened at first, as on a host that is busy with loading, they have AGAIN_FOR more."""

        def serves(entry: Entry) -> bool:
            return entry.agent is not None and rate in entry.agent.rates

        def chain() -> list[Entry]:
            if (first := self._wanted.get(name)) is None:
                return []
            return [first, *(entry for other in first.config.fallback if (entry := self._wanted.get(other)))]

        await self._opening.wait()
        for entry in chain():
            await entry.attempted.wait()
            if serves(entry):
                break
        with trio.move_on_after(AGAIN_FOR):
            while chain() and not any(map(serves, chain())):
                await self._one_more.wait()
        return [entry for entry in chain() if serves(entry)]

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The entries that take calls, by name."""
        return self._entries

    async def replace(self, agents: Mapping[str, AgentConfig]) -> None:
        """Make these the agents of new calls; each has been tried once when this returns.

        An agent whose configuration did not change is kept as it is; a changed one takes over once it is open, be that
        later; running calls keep the agent they have.
        """
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
            self.nursery.start_soon(self._keep, entry, name=f"agent {entry.name}")
        self._opening.set()
        for entry in fresh.values():
            await entry.attempted.wait()
        for name in [name for name in self._entries if name not in agents]:
            self._entries.pop(name).retire()
            self.metrics.agent_ready.remove(name)
            self.metrics.circuit_open.remove(name)
        for name, entry in fresh.items():
            self._entries.setdefault(name, entry)
            self.metrics.agent_ready.labels(agent=name).set_function(partial(self._ready_value, name))
            self.metrics.circuit_open.labels(agent=name).set_function(partial(self._circuit_value, name))

    def _take_over(self, entry: Entry) -> None:
        if self._wanted.get(entry.name) is not entry:
            return
        before = self._entries.get(entry.name)
        self._entries[entry.name] = entry
        if before is not None and before is not entry:
            before.retire()

    def _ready_value(self, name: str) -> float:
        entry = self._entries.get(name)
        return float(entry is not None and entry.readiness.ready)

    def _circuit_value(self, name: str) -> float:
        entry = self._entries.get(name)
        return 0.0 if entry is None else CIRCUIT_VALUES[entry.breaker.circuit(trio.current_time())]

    async def _keep(self, entry: Entry) -> None:
        """Have an agent open until it is retired and unused: the outermost frame of its provider's code."""
        delay = FIRST_DELAY
        while True:
            failures, since = list[Failure](), trio.current_time()
            with contained(failures.append):
                await self._open(entry)
                return
            entry.agent = entry.voice = None
            if trio.current_time() - since > LONGEST_DELAY:  # it was open for a while
                delay = FIRST_DELAY
            if isinstance(failures[0], AgentdError):
                entry.failure, traceback = str(failures[0]), None
            else:
                entry.failure = f"a defect of the provider {entry.config.provider}: {type(failures[0]).__name__}"
                traceback = failures[0]
            log.error(
                "agent cannot be opened", agent=entry.name, error=entry.failure, retry_in_s=delay, exc_info=traceback
            )
            entry.attempted.set()
            entry.voiced.set()
            with trio.move_on_after(delay):
                await entry.until_unused()
                return
            delay = min(delay * 2, LONGEST_DELAY)

    async def _open(self, entry: Entry) -> None:
        async with self.open_agent(entry.name, entry.config) as opened:
            agent = entry.voice = ContainedAgent(entry.name, opened)
            entry.voiced.set()
            failures = await self._prepare(entry, agent, self._fixed_words(entry))
            for words, error in failures.items():
                log.warning("words cannot be spoken beforehand", agent=entry.name, words=words, error=error)
            entry.agent, entry.failure = agent, ""
            self._take_over(entry)
            entry.attempted.set()
            self._one_more.set()
            self._one_more = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._prepare_later, entry, agent, set(failures))
                await entry.until_unused()
                nursery.cancel_scope.cancel()

    def _fixed_words(self, entry: Entry) -> set[str]:
        """The words that an agent may have to say exactly, or while its own voice is broken."""
        hold_messages = [other.config.failover.hold_message for other in self._wanted.values()]
        return {*entry.config.announcements, *entry.config.phrases, *hold_messages} - {""}

    async def _prepare(self, entry: Entry, agent: Agent, texts: set[str]) -> dict[str, str]:
        """Have words spoken beforehand; gives those that could not be, each with the reason."""
        failures = dict.fromkeys(texts, f"not spoken within {WORDS_DEADLINE:g} s")
        at_once = trio.CapacityLimiter(WORDS_AT_ONCE)

        async def prepare(text: str) -> None:
            try:
                async with at_once:
                    entry.spoken[text] = await self._spoken(entry, agent, text)
            except ProviderError as error:
                failures[text] = str(error)
            else:
                del failures[text]

        with trio.move_on_after(WORDS_DEADLINE):
            async with trio.open_nursery() as nursery:
                for text in texts:
                    nursery.start_soon(prepare, text)
        return failures

    async def _spoken(self, entry: Entry, agent: Agent, text: str) -> tuple[Audio, ...]:
        """The sound of a text in the agent's own voice, or else in that of who speaks for it. Raises ProviderError:
        what its own voice says."""
        try:
            return tuple(await agent.synthesise(text))
        except ProviderError as error:
            refusal = error
        for name in self._speakers(entry, text):
            if (other := self._wanted.get(name)) is None:
                continue
            await other.voiced.wait()  # the caller's deadline bounds it
            if other.voice is not None:
                with suppress(ProviderError):
                    return tuple(await other.voice.synthesise(text))
        raise refusal

    def _speakers(self, entry: Entry, text: str) -> Sequence[str]:
        """Who speaks for an agent that cannot. In a conversation a strange voice is the operator's choice only."""
        config = entry.config
        if config.speaker:
            return (config.speaker,)
        return config.fallback if text in config.announcements else ()

    async def _prepare_later(self, entry: Entry, agent: Agent, missing: set[str]) -> None:
        """Try again what could not be spoken: what was down when the agent was opened comes back some time."""
        delay = WORDS_AGAIN
        while missing:
            await trio.sleep(delay)
            delay = min(delay * 2, WORDS_AGAIN_LONGEST)
            before, missing = missing, set(await self._prepare(entry, agent, missing))
            if len(missing) < len(before):
                log.info(
                    "words were spoken beforehand after all",
                    agent=entry.name,
                    texts=len(before) - len(missing),
                    missing=len(missing),
                )
