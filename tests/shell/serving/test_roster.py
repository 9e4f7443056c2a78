"""The configured agents: opened, retried, replaced on reload, closed with their last call."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.agent import Agent, Audio, Readiness
from agentd.config.settings import AgentConfig, Failover, Liveness
from agentd.errors import ConfigError, ProviderRejected, ProviderUnavailable
from agentd.metrics import Metrics
from agentd.serving.breaker import FAILURES, FIRST_COOL_DOWN
from agentd.serving.roster import (
    FIRST_DELAY,
    LONGEST_DELAY,
    WORDS_AGAIN,
    WORDS_AGAIN_LONGEST,
    WORDS_DEADLINE,
    Roster,
    in_use,
)
from agentd.tools.registry import Toolbox
from tests.shell.fakes import FakeAgent

WORDLESS = Liveness(silence_farewell="", duration_farewell="", check_in="", filler="", duration_warning="")
PLAIN = AgentConfig(
    greeting="",
    failure_announcement="",
    shutdown_announcement="",
    liveness=WORDLESS,
    failover=Failover(hold_message="", apology="", restart_words=""),
)


@attrs.define(eq=False)
class SpeakingAgent(FakeAgent):
    config: AgentConfig = PLAIN
    spoken: list[str] = attrs.field(factory=list)
    mute: bool = False
    unspeakable: str = ""

    async def synthesise(self, text: str) -> Sequence[Audio]:
        await trio.sleep(math.inf if text == self.unspeakable else 0.0)
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
    unspeakable: str = ""
    """A text that an agent never finishes to speak."""

    @asynccontextmanager
    async def open(self, name: str, config: AgentConfig) -> AsyncIterator[Agent]:
        self.attempts.append((trio.current_time(), name))
        await trio.sleep(self.seconds)
        if self.failures:
            raise self.failures.pop(0)
        agent = SpeakingAgent(config=config, mute=self.mute or config.provider == "mute", unspeakable=self.unspeakable)
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
    async with trio.open_nursery() as nursery:
        roster = Roster(provider.open, Metrics(), nursery)
        await roster.replace(agents)
        yield roster
        nursery.cancel_scope.cancel()
    assert not provider.open_now


def readiness(roster: Roster) -> dict[str, Readiness]:
    return {name: entry.readiness for name, entry in roster.entries.items()}


def ready(roster: Roster, name: str = "default") -> float | None:
    return roster.metrics.registry.get_sample_value("agentd_agent_ready", {"agent": name})


def circuit(roster: Roster, name: str = "default") -> float | None:
    return roster.metrics.registry.get_sample_value("agentd_circuit_open", {"agent": name})


async def test_every_agent_is_open_once_the_roster_has_started(autojump_clock: MockClock) -> None:
    provider = Provider(seconds=2.0)
    async with kept(provider, default=PLAIN, sales=PLAIN) as roster:
        assert readiness(roster) == {"default": Readiness(True), "sales": Readiness(True)}
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
        assert readiness(roster) == {"default": Readiness(False, str(error))}
        assert ready(roster) == 0


async def test_it_is_tried_again_with_exponential_back_off_up_to_a_bound(autojump_clock: MockClock) -> None:
    provider = Provider(failures=[ProviderUnavailable("no")] * 12)
    async with kept(provider, default=PLAIN) as roster:
        await trio.sleep(1000)
        times = [at for at, _ in provider.attempts]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert pauses == [min(FIRST_DELAY * 2**n, LONGEST_DELAY) for n in range(12)]
        assert readiness(roster) == {"default": Readiness(True)}
        assert ready(roster) == 1


async def test_one_agent_that_fails_keeps_no_other_from_serving(autojump_clock: MockClock) -> None:
    provider = Provider()

    @asynccontextmanager
    async def open_agent(name: str, config: AgentConfig) -> AsyncIterator[Agent]:
        if name == "broken":
            raise ProviderUnavailable("no")
        async with provider.open(name, config) as agent:
            yield agent

    async with trio.open_nursery() as nursery:
        roster = Roster(open_agent, Metrics(), nursery)
        await roster.replace({"broken": PLAIN, "default": PLAIN})
        assert {name: state.ready for name, state in readiness(roster).items()} == {"broken": False, "default": True}
        nursery.cancel_scope.cancel()


# --- fixed words


async def spoken(provider: Provider, **agents: AgentConfig) -> dict[str, set[str]]:
    """What each agent has spoken beforehand."""
    async with kept(provider, **agents) as roster:
        assert all(entry.readiness.ready for entry in roster.entries.values())
        return {name: set(entry.spoken) for name, entry in roster.entries.items()}


async def test_what_must_be_exact_is_spoken_beforehand(autojump_clock: MockClock) -> None:
    words = Liveness(
        silence_farewell="Nobody.", duration_farewell="Time.", check_in="There?", filler="Hm.", duration_warning="Soon."
    )
    config = attrs.evolve(
        PLAIN,
        greeting="Hello.",
        failure_announcement="Sorry.",
        shutdown_announcement="Goodbye.",
        liveness=words,
        failover=Failover(hold_message="Wait.", apology="Again?", restart_words="Back."),
    )
    everything = {"Nobody.", "Time.", "There?", "Hm.", "Soon.", "Hello.", "Sorry.", "Goodbye.", "Wait.", "Again?"}
    everything.add("Back.")
    assert await spoken(Provider(), default=config) == {"default": everything}


async def test_each_text_is_spoken_once(autojump_clock: MockClock) -> None:
    provider = Provider()
    config = attrs.evolve(PLAIN, greeting="Hello.", shutdown_announcement="Hello.")
    async with kept(provider, default=config):
        assert provider.open_now[0].spoken == ["Hello."]


async def test_a_text_that_is_configured_away_is_not_spoken(autojump_clock: MockClock) -> None:
    assert await spoken(Provider(), default=PLAIN) == {"default": set()}


async def test_whoever_takes_over_has_the_bridge_of_every_agent(autojump_clock: MockClock) -> None:
    wait = attrs.evolve(PLAIN, failover=Failover(hold_message="Wait.", apology="", restart_words=""))
    assert await spoken(Provider(), default=wait, other=PLAIN) == {"default": {"Wait."}, "other": {"Wait."}}


async def test_an_agent_without_a_voice_of_its_own_serves_all_the_same(autojump_clock: MockClock) -> None:
    assert await spoken(Provider(mute=True), default=AgentConfig()) == {"default": set()}


@pytest.mark.parametrize("order", [("default", "house"), ("house", "default")])
@pytest.mark.parametrize("speaker", ["", "house"])
async def test_who_has_no_voice_for_exact_words_has_another_agent_speak_them(
    order: tuple[str, str], speaker: str, autojump_clock: MockClock
) -> None:
    """OpenAI Realtime chooses its own words. A strange voice in the conversation is the operator's choice only."""
    mute = attrs.evolve(
        PLAIN, greeting="Hello.", failure_announcement="Sorry.", fallback=["house"], speaker=speaker, provider="mute"
    )
    provider = Provider()
    agents = {"default": mute, "house": attrs.evolve(PLAIN, failure_announcement="Alas.")}
    async with kept(provider, **{name: agents[name] for name in order}) as roster:
        assert roster.entries["default"].spoken.keys() == ({"Hello.", "Sorry."} if speaker else {"Sorry."})
        assert roster.entries["house"].spoken.keys() == {"Alas."}


async def test_words_that_take_too_long_keep_no_agent_from_serving(autojump_clock: MockClock) -> None:
    config = attrs.evolve(PLAIN, greeting="Hello.", shutdown_announcement="Goodbye.")
    assert await spoken(Provider(unspeakable="Hello."), default=config) == {"default": {"Goodbye."}}
    assert trio.current_time() == WORDS_DEADLINE


async def test_words_are_asked_for_again_once_the_voice_may_be_back(autojump_clock: MockClock) -> None:
    provider = Provider(mute=True)
    config = attrs.evolve(PLAIN, failure_announcement="Sorry.", shutdown_announcement="Goodbye.")
    async with kept(provider, default=config) as roster:
        with structlog.testing.capture_logs() as logs:
            await trio.sleep(WORDS_AGAIN * 2)
            assert roster.entries["default"].spoken == {}
            assert logs == [], "it has been told once"
            provider.open_now[0].mute = False
            provider.open_now[0].unspeakable = "Sorry."
            await trio.sleep(WORDS_AGAIN * 2)
            assert set(roster.entries["default"].spoken) == {"Goodbye."}
            provider.open_now[0].unspeakable = ""
            await trio.sleep(WORDS_AGAIN_LONGEST)
            assert set(roster.entries["default"].spoken) == {"Goodbye.", "Sorry."}
            assert provider.open_now[0].spoken == ["Goodbye.", "Sorry."]
        told = [(log["event"], log["texts"], log["missing"]) for log in logs]
        assert told == [
            ("words were spoken beforehand after all", 1, 1),
            ("words were spoken beforehand after all", 1, 0),
        ]
        await trio.sleep(WORDS_AGAIN_LONGEST * 3)
        assert provider.open_now[0].spoken == ["Goodbye.", "Sorry."], "and not once more"


async def test_an_agent_that_still_misses_words_closes_when_it_is_replaced(autojump_clock: MockClock) -> None:
    provider = Provider(mute=True)
    async with kept(provider, default=attrs.evolve(PLAIN, greeting="Hello.")) as roster:
        await roster.replace({"default": PLAIN})
        await trio.sleep(1.0)
        assert provider.configs == [PLAIN]


async def test_readiness_is_measured_as_it_is_now(autojump_clock: MockClock) -> None:
    provider = Provider()
    async with kept(provider, default=PLAIN) as roster:
        assert ready(roster) == 1
        provider.open_now[0].readiness = Readiness(False, "its server is not reached")
        assert ready(roster) == 0
        await roster.replace({})
        assert ready(roster) is None


# --- who can take a call


async def test_a_chain_is_the_agent_and_its_fallbacks_that_are_open_in_their_order(autojump_clock: MockClock) -> None:
    provider = Provider()

    @asynccontextmanager
    async def open_agent(name: str, config: AgentConfig) -> AsyncIterator[Agent]:
        if name == "broken":
            raise ProviderUnavailable("no")
        async with provider.open(name, config) as agent:
            yield agent

    first = attrs.evolve(PLAIN, fallback=["third", "broken", "second"])
    async with trio.open_nursery() as nursery:
        agents = {"broken": attrs.evolve(PLAIN, fallback=["second"]), "first": first, "second": PLAIN, "third": PLAIN}
        roster = Roster(open_agent, Metrics(), nursery)
        await roster.replace(agents)
        assert [entry.name for entry in roster.chain("first")] == ["first", "third", "second"]
        assert [entry.name for entry in roster.chain("second")] == ["second"]
        assert [entry.name for entry in roster.chain("broken")] == ["second"], "a fallback serves from the start"
        assert roster.chain("nobody") == []
        nursery.cancel_scope.cancel()


async def test_every_agent_of_a_chain_is_kept_open_under_its_call(autojump_clock: MockClock) -> None:
    provider = Provider()
    first = attrs.evolve(PLAIN, fallback=["second"])
    changed = {"first": attrs.evolve(first, greeting="Hi"), "second": attrs.evolve(PLAIN, greeting="Hi")}
    async with kept(provider, first=first, second=PLAIN) as roster:
        async with in_use(roster.chain("first"), Toolbox({}, {}), ari=True) as candidates:
            assert [candidate.name for candidate in candidates] == ["first", "second"]
            await roster.replace(changed)
            await trio.sleep(60.0)
            assert len(provider.open_now) == 4
        await trio.sleep(0.1)
        assert sorted(provider.configs, key=str) == sorted(changed.values(), key=str)


async def test_where_a_circuit_stands_is_a_figure(autojump_clock: MockClock) -> None:
    async with kept(Provider(), default=PLAIN) as roster:
        assert circuit(roster) == 0.0
        breaker = roster.entries["default"].breaker
        for _ in range(FAILURES):
            breaker.failed(trio.current_time(), "down")
        assert circuit(roster) == 1.0
        await trio.sleep(FIRST_COOL_DOWN)
        assert circuit(roster) == 0.5
        breaker.succeeded()
        assert circuit(roster) == 0.0
        await roster.replace({})
        assert circuit(roster) is None


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
        assert readiness(roster) == {"default": Readiness(True)}


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
    with trio.move_on_after(100):
        async with trio.open_nursery() as nursery:
            await Roster(provider.open, Metrics(), nursery).replace({"default": PLAIN})
