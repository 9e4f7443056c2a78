"""The configured agents: opened, retried, replaced on reload, closed with their last call."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.agent import Agent, Audio, Readiness
from agentd.config import AgentConfig, Liveness
from agentd.errors import ConfigError, ProviderRejected, ProviderUnavailable
from agentd.metrics import Metrics
from agentd.roster import FIRST_DELAY, LONGEST_DELAY, Roster
from tests.shell.fakes import FakeAgent

MUTE = Liveness(silence_farewell="", duration_farewell="")
PLAIN = AgentConfig(failure_announcement="", shutdown_announcement="", liveness=MUTE)


@attrs.define(eq=False)
class SpeakingAgent(FakeAgent):
    config: AgentConfig = PLAIN
    spoken: list[str] = attrs.field(factory=list)
    mute: bool = False

    async def synthesise(self, text: str) -> Sequence[Audio]:
        await trio.lowlevel.checkpoint()
        if self.mute:
            raise ProviderRejected("no voice")
        self.spoken.append(text)
        return (Audio(0, 0, bytes(16), 8000),)


@attrs.define(eq=False)
class Provider:
    """Opens agents; `failures` are raised first, one an attempt."""

    failures: list[Exception] = attrs.field(factory=list)
    attempts: list[tuple[float, str]] = attrs.field(factory=list)
    open_now: list[SpeakingAgent] = attrs.field(factory=list)
    seconds: float = 0.0
    mute: bool = False

    @asynccontextmanager
    async def open(self, name: str, config: AgentConfig) -> AsyncIterator[Agent]:
        self.attempts.append((trio.current_time(), name))
        await trio.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)
        agent = SpeakingAgent(config=config, mute=self.mute)
        self.open_now.append(agent)
        try:
            yield agent
        finally:
            self.open_now.remove(agent)

    @property
    def configs(self) -> list[AgentConfig]:
        return [agent.config for agent in self.open_now]


@asynccontextmanager
async def kept(provider: Provider, **agents: AgentConfig) -> AsyncIterator[Roster]:
    roster = Roster(provider.open, Metrics())
    async with trio.open_nursery() as nursery:
        await nursery.start(roster.run, agents)
        yield roster
        nursery.cancel_scope.cancel()
    assert not provider.open_now


def ready(roster: Roster, name: str = "default") -> float | None:
    return roster.metrics.registry.get_sample_value("agentd_agent_ready", {"agent": name})


async def test_every_agent_is_open_once_the_roster_has_started(autojump_clock: MockClock) -> None:
    provider = Provider(seconds=2.0)
    async with kept(provider, default=PLAIN, sales=PLAIN) as roster:
        assert roster.readiness == {"default": Readiness(True), "sales": Readiness(True)}
        assert trio.current_time() == 2.0, "side by side"
        assert ready(roster) == 1
        assert roster.find("nobody") is None


@pytest.mark.parametrize("error", [ProviderUnavailable("no route"), ProviderRejected("bad key"), ConfigError("gone")])
async def test_an_agent_that_cannot_be_opened_keeps_nobody_waiting_and_says_why(
    error: Exception, autojump_clock: MockClock
) -> None:
    provider = Provider(failures=[error] * 1000)
    async with kept(provider, default=PLAIN) as roster:
        assert trio.current_time() == 0.0
        assert roster.readiness == {"default": Readiness(False, str(error))}
        assert ready(roster) == 0


async def test_it_is_tried_again_with_exponential_back_off_up_to_a_bound(autojump_clock: MockClock) -> None:
    provider = Provider(failures=[ProviderUnavailable("no")] * 12)
    async with kept(provider, default=PLAIN) as roster:
        await trio.sleep(1000)
        times = [at for at, _ in provider.attempts]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert pauses == [min(FIRST_DELAY * 2**n, LONGEST_DELAY) for n in range(12)]
        assert roster.readiness == {"default": Readiness(True)}
        assert ready(roster) == 1


async def test_one_agent_that_fails_keeps_no_other_from_serving(autojump_clock: MockClock) -> None:
    provider = Provider()

    @asynccontextmanager
    async def open_agent(name: str, config: AgentConfig) -> AsyncIterator[Agent]:
        if name == "broken":
            raise ProviderUnavailable("no")
        async with provider.open(name, config) as agent:
            yield agent

    roster = Roster(open_agent, Metrics())
    async with trio.open_nursery() as nursery:
        await nursery.start(roster.run, {"broken": PLAIN, "default": PLAIN})
        assert {name: state.ready for name, state in roster.readiness.items()} == {"broken": False, "default": True}
        nursery.cancel_scope.cancel()


# --- announcements


async def test_announcements_are_spoken_beforehand(autojump_clock: MockClock) -> None:
    farewells = Liveness(silence_farewell="Nobody there.", duration_farewell="Time is over.")
    config = AgentConfig(failure_announcement="Sorry.", shutdown_announcement="Goodbye.", liveness=farewells)
    provider = Provider()
    async with kept(provider, default=config) as roster:
        entry = roster.find("default")
        assert entry is not None
        assert set(entry.announcements) == {"failure", "shutdown", "silence", "duration"}
        assert provider.open_now[0].spoken == ["Sorry.", "Goodbye.", "Nobody there.", "Time is over."]


async def test_an_announcement_that_is_configured_away_is_not_spoken(autojump_clock: MockClock) -> None:
    provider = Provider()
    async with kept(provider, default=PLAIN) as roster:
        entry = roster.find("default")
        assert entry is not None
        assert entry.announcements == {}
        assert provider.open_now[0].spoken == []


async def test_an_agent_without_a_voice_serves_without_announcements(autojump_clock: MockClock) -> None:
    async with kept(Provider(mute=True), default=AgentConfig()) as roster:
        entry = roster.find("default")
        assert entry is not None
        assert entry.announcements == {}
        assert entry.readiness.ready


# --- reload


async def test_a_reload_keeps_what_did_not_change(autojump_clock: MockClock) -> None:
    provider = Provider()
    async with kept(provider, default=PLAIN, sales=PLAIN) as roster:
        before = roster.find("default")
        await roster.replace({"default": PLAIN, "sales": attrs.evolve(PLAIN, greeting="Hi"), "new": PLAIN})
        assert roster.find("default") is before
        assert sorted(name for _, name in provider.attempts) == ["default", "new", "sales", "sales"]


async def test_a_changed_agent_takes_over_once_it_is_open(autojump_clock: MockClock) -> None:
    provider = Provider()
    changed = attrs.evolve(PLAIN, greeting="Hi")
    async with kept(provider, default=PLAIN) as roster:
        provider.seconds = 5.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roster.replace, {"default": changed})
            await trio.sleep(4.0)
            entry = roster.find("default")
            assert entry is not None
            assert (entry.config, entry.readiness.ready) == (PLAIN, True), "callers in between are served"
        await trio.sleep(0.1)
        assert provider.configs == [changed]


async def test_a_changed_agent_that_cannot_be_opened_leaves_the_old_one_serving(autojump_clock: MockClock) -> None:
    provider = Provider()
    changed = attrs.evolve(PLAIN, greeting="Hi")
    async with kept(provider, default=PLAIN) as roster:
        provider.failures = [ProviderUnavailable("the new model is missing")] * 2
        await roster.replace({"default": changed})
        entry = roster.find("default")
        assert entry is not None
        assert (entry.config, entry.readiness.ready, ready(roster)) == (PLAIN, True, 1)
        await trio.sleep(10.0)
        entry = roster.find("default")
        assert entry is not None
        assert (entry.config, entry.readiness.ready) == (changed, True), "and takes over when it can be"
        assert provider.configs == [changed]


async def test_a_change_that_is_taken_back_before_it_could_be_opened_is_given_up(autojump_clock: MockClock) -> None:
    provider = Provider()
    async with kept(provider, default=PLAIN) as roster:
        provider.failures = [ProviderUnavailable("no")] * 3
        await roster.replace({"default": attrs.evolve(PLAIN, greeting="Hi")})
        provider.failures = []
        await roster.replace({"default": PLAIN})
        await trio.sleep(100.0)
        assert provider.configs == [PLAIN]
        assert roster.readiness == {"default": Readiness(True)}


async def test_an_old_agent_is_closed_with_its_last_call(autojump_clock: MockClock) -> None:
    provider = Provider()
    changed = attrs.evolve(PLAIN, greeting="Hi")
    async with kept(provider, default=PLAIN) as roster:
        old = roster.find("default")
        assert old is not None
        async with old.in_use(), old.in_use():
            await roster.replace({"default": changed})
            await trio.sleep(60.0)
            assert provider.configs == [PLAIN, changed]
        await trio.sleep(0.1)
        assert provider.configs == [changed]


async def test_a_removed_agent_takes_no_more_calls_and_is_no_longer_reported(autojump_clock: MockClock) -> None:
    provider = Provider()
    async with kept(provider, default=PLAIN, sales=PLAIN) as roster:
        await roster.replace({"default": PLAIN})
        await trio.sleep(0.1)
        assert roster.find("sales") is None
        assert len(provider.open_now) == 1
        assert not ready(roster, "sales")


async def test_an_agent_that_is_removed_while_it_is_retried_is_not_tried_any_more(autojump_clock: MockClock) -> None:
    provider = Provider(failures=[ProviderUnavailable("no")] * 1000)
    async with kept(provider, default=PLAIN) as roster:
        await roster.replace({})
        attempts = len(provider.attempts)
        await trio.sleep(1000)
        assert len(provider.attempts) == attempts


async def test_an_opening_that_never_ends_is_ended_with_the_daemon(autojump_clock: MockClock) -> None:
    provider = Provider(seconds=math.inf)
    roster = Roster(provider.open, Metrics())
    with trio.move_on_after(100):
        await roster.run({"default": PLAIN})
