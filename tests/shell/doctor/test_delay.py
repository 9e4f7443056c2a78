"""The doctor opens each agent by its provider, and has it answer nobody."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd import plugins
from agentd.config.settings import AgentConfig, Config
from agentd.doctor.delay import examine_delays
from agentd.doctor.findings import Finding, State
from agentd.errors import ConfigError, ProviderRejected, ProviderUnavailable
from agentd_providers.registry import Provider
from agentd_providers.rehearsal import Rehearsal
from agentd_providers.shared import SharedServices
from agentd_providers.trial import REHEARSAL_WITHIN

QUICK = Rehearsal(0.1, 0.1, 0.1)
Rehearse = Callable[[object], Awaitable[Rehearsal]]


@attrs.define(eq=False)
class Parrot:
    """A provider from elsewhere. Counts what it has open; an engine of it is shared."""

    rehearse: Rehearse | None
    failure: Exception | None = None
    open_now: int = 0

    @asynccontextmanager
    async def open(self, name: str, _config: AgentConfig, shared: SharedServices) -> AsyncIterator[str]:
        if self.failure is not None:
            raise self.failure
        async with shared.use("engine", self.engine):
            yield name

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[object]:
        self.open_now += 1
        try:
            yield self
        finally:
            self.open_now -= 1


async def examined(parrot: Parrot, monkeypatch: pytest.MonkeyPatch, *agents: str) -> list[Finding]:
    class Point:
        value = "agentd_parrot:PROVIDER"

        @staticmethod
        def load() -> Provider:
            return Provider(AgentConfig, parrot.open, rehearse=parrot.rehearse)

    monkeypatch.setattr(plugins, "installed", lambda _group: {"parrot": Point()})
    found = await examine_delays(Config(agents={name: AgentConfig("parrot") for name in agents or ("main",)}))
    assert not parrot.open_now, "nothing is left open"
    return found


async def quick(agent: object) -> Rehearsal:
    assert agent in ("main", "other")
    await trio.sleep(10.0)
    return QUICK


async def test_each_agent_in_turn_tells_its_delay(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    found = await examined(Parrot(quick), monkeypatch, "other", "main")
    assert [finding.check for finding in found] == ["delay main", "delay other"]
    assert {finding.state for finding in found} <= {State.OK, State.WARN}
    assert all("100 ms for the words" in finding.found for finding in found)
    assert trio.current_time() == 20.0, "one after the other"


async def test_an_agent_that_cannot_be_asked_without_a_call_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = await examined(Parrot(None), monkeypatch)
    assert finding.state is State.SKIPPED


@pytest.mark.parametrize("error", [ProviderUnavailable("no model"), ConfigError("no key"), ProviderRejected("refused")])
async def test_an_agent_that_does_not_open_is_a_failure_that_says_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = await examined(Parrot(quick, failure=error), monkeypatch)
    assert finding.failed
    assert str(error) in finding.found


async def test_a_provider_that_raises_anything_costs_its_own_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = await examined(Parrot(quick, failure=RuntimeError("oops")), monkeypatch)
    assert finding.failed
    assert "RuntimeError: oops" in finding.found


async def test_engines_that_never_answer_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def mute(_agent: object) -> Rehearsal:
        return await trio.sleep_forever()

    (finding,) = await examined(Parrot(mute), monkeypatch)
    assert finding.failed
    assert trio.current_time() == REHEARSAL_WITHIN
