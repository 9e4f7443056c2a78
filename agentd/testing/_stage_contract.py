"""The part of the contract that a pipeline's stages of every kind share; each kind's own is in a module of its own."""

import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from agentd.errors import (
    AgentdError,
    ConfigError,
    ProviderError,
    ProviderProtocolError,
    ProviderRejected,
    ProviderUnavailable,
    ungrouped,
)
from agentd.testing._contract import Contract, hides_keys, needs
from agentd.testing.clock import PATIENCE, until
from agentd.testing.faults import Fault
from agentd.testing.plugin import pass_over
from agentd.testing.stages import Can, StageParty
from agentd_providers.shared import SharedServices

IN_TIME = 2.0
"""Seconds after a deadline by which its error is there, and in which somebody who leaves has left."""
LEAVING = 5.0
"""Seconds within which nothing of a call that is over is left, at its vendor either."""
LONGEST_ERROR = 500
"""Characters."""
EXPECTED: Mapping[Fault, tuple[type[ProviderError], ...]] = {
    Fault.REFUSED: (ProviderRejected,),
    Fault.RATE_LIMITED: (ProviderUnavailable,),
    Fault.UNAVAILABLE: (ProviderUnavailable,),
    Fault.MUTE: (ProviderUnavailable,),
    Fault.CLOSE: (ProviderUnavailable,),
    Fault.CUT: (ProviderUnavailable, ProviderProtocolError),
    Fault.GARBAGE: (ProviderProtocolError,),
    Fault.OVERSIZED: (ProviderProtocolError,),
}
"""The error that each fault comes out as: it tells whose the fault is, and whether to try again may help."""
TIMES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
STEPS = (1, 2, 3, 5, 8, 12, 17, 23, 30, 40, 55, 75, 100)
"""When a call ends: after seconds, and at steps of whatever task."""


@asynccontextmanager
async def opened(party: StageParty) -> AsyncIterator[Any]:
    """The engine of a party that is open. Once it is closed nothing of it is left, here and at its vendor."""
    await trio.testing.wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    with ungrouped(AgentdError), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            async with party.open_engine(SharedServices(nursery)) as engine:
                yield engine
            await until(lambda: not nursery.child_tasks, LEAVING)
    await until(lambda: not party.at_work(), LEAVING)
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks, LEAVING)


@contextmanager
def failing(*errors: type[ProviderError]) -> Iterator[pytest.ExceptionInfo[ProviderError]]:
    """Around what must raise one of these errors: out of the nurseries of what is open for the call."""
    with pytest.raises(errors) as raised, ungrouped(ProviderError):
        yield raised


@attrs.define(eq=False)
class AtStep(trio.abc.Instrument):
    """Acts before the n-th step that any task takes from now on."""

    act: Callable[[], None]
    at: int
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.act()


class StageContract(Contract):
    """The tests for stages of all kinds. Make a class of a kind below in your tests, named Test..., with one fixture,
    `stage`, that gives the party."""

    @pytest.fixture
    def declared(self, stage: StageParty) -> StageParty:
        """As the fixture `stage` made it."""
        return stage

    @pytest.fixture(autouse=True)
    def faults(self, request: pytest.FixtureRequest, declared: StageParty) -> None:
        """Pass over a fault that the party has no error for."""
        callspec = getattr(request.node, "callspec", None)
        fault = callspec.params.get("fault") if callspec else None
        if fault is not None and fault not in declared.faults:
            pass_over(request, f"{declared.name} has no error for a vendor's fault {fault.value!r}")

    def call(self, party: Any, engine: Any) -> AbstractAsyncContextManager[Any]:
        """One call's part of the engine."""
        a_call: AbstractAsyncContextManager[Any] = engine.open()
        return a_call

    async def use(self, party: Any, engine: Any, number: int = 0) -> None:
        """One call's use of the engine, from the call's begin to its end: as right as it can be told by. Each `number`
        is another. Raises ProviderError as the stage does."""
        raise NotImplementedError

    # --- a vendor that is well

    async def test_it_serves_one_call_after_the_other(self, party: StageParty) -> None:
        async with opened(party) as engine:
            for number in range(3):
                await self.use(party, engine, number)
            assert engine.readiness.ready

    async def test_calls_beside_each_other_do_not_meet(self, party: StageParty) -> None:
        async with opened(party) as engine, trio.open_nursery() as calls:
            for number in range(5):
                calls.start_soon(self.use, party, engine, number)

    @needs(Can.FAILS)
    async def test_a_slow_vendor_is_waited_for(self, party: StageParty) -> None:
        async with opened(party) as engine:
            party.strike(Fault.SLOW)
            await self.use(party, engine)

    # --- its key

    @needs(Can.NEEDS_KEY)
    async def test_the_key_is_in_a_header_and_nowhere_else(self, party: StageParty) -> None:
        async with opened(party) as engine:
            await self.use(party, engine)
            async with self.call(party, engine) as a_call:
                shown = f"{engine!r} {engine.readiness!r} {a_call!r}"
        seen = party.seen()
        assert seen
        for request in seen:
            assert any(key in value for value in request.headers.values() for key in party.keys.values())
            hides_keys(party, request.rest)
        hides_keys(party, shown)

    @needs(Can.NEEDS_KEY)
    @pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel"], ids=["none", "two lines", "not ASCII"])
    async def test_without_a_key_that_can_be_one_there_is_no_engine(
        self, party: StageParty, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in party.keys:
            monkeypatch.setenv(name, key)
        with pytest.raises(ConfigError, match="|".join(party.keys)) as raised:
            async with opened(party):
                raise AssertionError("it was opened")
        assert not key or key not in str(raised.value)

    @needs(Can.NEEDS_KEY, Can.FAILS)
    async def test_it_is_ready_until_its_key_is_refused_and_again_once_it_is_taken(self, party: StageParty) -> None:
        async with opened(party) as engine:
            assert engine.readiness.ready
            for fault, ready in [(Fault.UNAVAILABLE, True), (Fault.REFUSED, False)]:
                party.strike(fault)
                with failing(ProviderError):
                    await self.use(party, engine)
                assert engine.readiness.ready is ready
            assert engine.readiness.detail
            hides_keys(party, engine.readiness.detail)
            party.strike(Fault.NONE)
            await self.use(party, engine)
            assert engine.readiness.ready

    # --- a vendor that fails

    @needs(Can.FAILS)
    @pytest.mark.parametrize("fault", EXPECTED)
    async def test_each_fault_is_an_error_in_time_and_the_next_call_is_served(
        self, party: StageParty, fault: Fault
    ) -> None:
        async with opened(party) as engine:
            party.strike(fault)
            began = trio.current_time()
            with failing(*EXPECTED[fault]) as raised:
                await self.use(party, engine)
            assert trio.current_time() - began < party.deadline + IN_TIME
            assert 0 < len(str(raised.value)) < LONGEST_ERROR
            hides_keys(party, *traceback.format_exception(raised.value))
            party.strike(Fault.NONE)
            await self.use(party, engine)

    @needs(Can.FAILS)
    async def test_nobody_at_its_vendor_s_address_is_an_error(self, declared: StageParty) -> None:
        async with declared.open():
            """From now on there is an address."""
        async with opened(declared) as engine:
            with failing(ProviderUnavailable):
                await self.use(declared, engine)

    # --- a call that ends

    @pytest.mark.parametrize("after", TIMES)
    async def test_a_call_that_ends_at_any_time_leaves_at_once_and_leaves_nothing(
        self, party: StageParty, after: float
    ) -> None:
        async with opened(party) as engine:
            for number in range(5):
                began = trio.current_time()
                with trio.move_on_after(after):
                    await self.use(party, engine, number)
                assert trio.current_time() - began < after + IN_TIME
            await until(lambda: not party.at_work(), LEAVING)
            await self.use(party, engine)

    async def test_a_call_that_ends_at_any_step_leaves_nothing(self, party: StageParty) -> None:
        async with opened(party) as engine:
            for step in STEPS:
                with trio.CancelScope() as call:
                    instrument = AtStep(call.cancel, step)
                    trio.lowlevel.add_instrument(instrument)
                    try:
                        await self.use(party, engine, step)
                    finally:
                        trio.lowlevel.remove_instrument(instrument)
            await until(lambda: not party.at_work(), LEAVING)
            await self.use(party, engine)
