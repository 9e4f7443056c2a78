"""Engines that several agents share: opened once, closed with their last user."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from agentd.errors import ProviderUnavailable
from agentd.metrics import Metrics
from agentd.service.parts import Parts
from agentd_providers.shared import SharedServices


@attrs.frozen
class Engine:
    number: int


@attrs.define(eq=False)
class Engines:
    """Opens engines, each with a number. `failures` are raised by the next openings, one each."""

    takes: float = 0.0
    closing_takes: float = 0.0
    failures: list[Exception] = attrs.field(factory=list)
    opened: int = 0
    tries: int = 0
    open_now: set[int] = attrs.field(factory=set)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Engine]:
        self.tries += 1
        await trio.sleep(self.takes)
        if self.failures:
            raise self.failures.pop(0)
        self.opened += 1
        number = self.opened
        self.open_now.add(number)
        try:
            yield Engine(number)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.closing_takes)
            self.open_now.remove(number)


@pytest.fixture
def engines() -> Engines:
    return Engines()


@asynccontextmanager
async def sharing() -> AsyncIterator[SharedServices]:
    """Shared services in a nursery that must not be left with a task."""
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            shared = SharedServices(nursery)
            yield shared
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.child_tasks
            assert not shared._services


async def use(shared: SharedServices, engines: Engines, seconds: float, got: list[int], key: str = "stt") -> None:
    async with shared.use(key, engines.open) as engine:
        got.append(engine.number)
        await trio.sleep(seconds)
        assert engine.number in engines.open_now


async def test_an_engine_is_opened_once_for_all_who_use_it_at_a_time(
    engines: Engines, autojump_clock: MockClock
) -> None:
    engines.takes = 2.0
    got: list[int] = []
    async with sharing() as shared:
        async with trio.open_nursery() as users:
            for seconds in (1, 2, 3):
                users.start_soon(use, shared, engines, seconds, got)
    assert got == [1, 1, 1]
    assert engines.tries == 1


async def test_different_keys_are_different_engines(engines: Engines, autojump_clock: MockClock) -> None:
    got: list[int] = []
    async with sharing() as shared:
        async with trio.open_nursery() as users:
            users.start_soon(use, shared, engines, 1, got, "stt")
            users.start_soon(use, shared, engines, 1, got, "tts")
    assert sorted(got) == [1, 2]


async def test_opening_one_engine_holds_up_no_other(engines: Engines, autojump_clock: MockClock) -> None:
    slow, got = Engines(takes=50), list[int]()
    async with sharing() as shared:
        async with trio.open_nursery() as users:
            users.start_soon(use, shared, slow, 1, got, "slow")
            with trio.fail_after(1):
                async with shared.use("fast", engines.open):
                    pass


async def test_an_engine_is_closed_with_its_last_user_and_not_before(
    engines: Engines, autojump_clock: MockClock
) -> None:
    async with sharing() as shared:
        async with shared.use("stt", engines.open) as first:
            async with shared.use("stt", engines.open) as second:
                assert first.number == second.number
            assert engines.open_now == {1}
        assert engines.open_now == set()  # closed when the block is left, not some time later


async def test_an_engine_is_opened_anew_after_its_last_user(engines: Engines, autojump_clock: MockClock) -> None:
    async with sharing() as shared:
        for number in (1, 2):
            async with shared.use("stt", engines.open) as engine:
                assert engine.number == number


async def test_an_engine_is_opened_anew_for_who_comes_while_it_is_being_closed(
    engines: Engines, autojump_clock: MockClock
) -> None:
    engines.closing_takes = 5.0
    got: list[int] = []
    async with sharing() as shared:
        async with trio.open_nursery() as users:
            users.start_soon(use, shared, engines, 1, got)
            await trio.sleep(3)  # the first is being closed
            users.start_soon(use, shared, engines, 10, got)
    assert got == [1, 2]


async def test_an_engine_that_outlives_its_first_user_does_not_depend_on_that_user(
    engines: Engines, autojump_clock: MockClock
) -> None:
    async with sharing() as shared:
        got: list[int] = []
        async with trio.open_nursery() as users:
            with trio.move_on_after(1) as first_user:
                async with shared.use("stt", engines.open) as engine:
                    users.start_soon(use, shared, engines, 20, got)
                    await trio.sleep_forever()
            assert first_user.cancelled_caught
            assert engine.number in engines.open_now
    assert got == [1]


# --- failures


async def test_an_engine_that_cannot_be_opened_fails_its_user_and_nobody_else(
    engines: Engines, autojump_clock: MockClock
) -> None:
    engines.failures = [ProviderUnavailable("no such model")]
    other = Engines()
    async with sharing() as shared:
        async with shared.use("tts", other.open):
            with pytest.raises(ProviderUnavailable, match="no such model"):
                async with shared.use("stt", engines.open):
                    raise AssertionError("there is no engine")
            assert other.open_now == {1}


async def test_who_waits_for_an_opening_that_fails_tries_it_again(engines: Engines, autojump_clock: MockClock) -> None:
    engines.failures, engines.takes = [ProviderUnavailable("busy")], 1.0
    outcomes: list[object] = []

    async def user(shared: SharedServices) -> None:
        try:
            async with shared.use("stt", engines.open) as engine:
                outcomes.append(engine.number)
        except ProviderUnavailable as error:
            outcomes.append(str(error))

    async with sharing() as shared:
        async with trio.open_nursery() as users:
            users.start_soon(user, shared)
            users.start_soon(user, shared)
    assert outcomes == ["busy", 1]


async def test_what_a_user_raises_closes_the_engine_and_is_not_changed(
    engines: Engines, autojump_clock: MockClock
) -> None:
    async with sharing() as shared:
        with pytest.raises(ZeroDivisionError):
            async with shared.use("stt", engines.open):
                raise ZeroDivisionError
        assert not engines.open_now


# --- cancellation


async def test_a_user_that_is_cancelled_while_it_waits_for_the_opening_leaves_nothing(
    engines: Engines, autojump_clock: MockClock
) -> None:
    engines.takes = 10.0
    async with sharing() as shared:
        with trio.move_on_after(1) as deadline:
            async with shared.use("stt", engines.open):
                raise AssertionError("not open yet")
        assert deadline.cancelled_caught
    assert engines.tries == 1
    assert not engines.opened


async def test_an_opening_that_is_given_up_by_one_is_begun_again_by_the_next(
    engines: Engines, autojump_clock: MockClock
) -> None:
    engines.takes = 10.0
    got: list[int] = []
    async with sharing() as shared:
        async with trio.open_nursery() as users:
            with trio.move_on_after(1):
                async with trio.open_nursery() as impatient:
                    impatient.start_soon(use, shared, engines, 1, got)
                    await trio.testing.wait_all_tasks_blocked()
                    users.start_soon(use, shared, engines, 1, got)
    assert got == [1]
    assert engines.tries == 2


async def test_a_cancelled_user_closes_the_engine_all_the_same_but_waits_no_more_than_10_s_for_it(
    engines: Engines, autojump_clock: MockClock
) -> None:
    engines.closing_takes = 60.0
    async with sharing() as shared:
        with trio.move_on_after(1) as deadline:
            async with shared.use("stt", engines.open):
                await trio.sleep_forever()
        assert deadline.cancelled_caught
        assert trio.current_time() - deadline.deadline == pytest.approx(10)
        await trio.sleep(51)
        assert not engines.open_now


async def test_the_end_of_the_daemon_closes_engines_that_are_in_use(
    engines: Engines, autojump_clock: MockClock
) -> None:
    with trio.fail_after(100):
        async with trio.open_nursery() as daemon:
            shared = SharedServices(daemon)
            daemon.start_soon(use, shared, engines, 1000, [])
            await trio.testing.wait_all_tasks_blocked()
            assert engines.open_now
            daemon.cancel_scope.cancel()
    assert not engines.open_now


# --- a service that fails after it was opened


@attrs.define(eq=False)
class Flaky:
    """A service with a life of its own, in which `fail` has it raise; `opens` counts its lives."""

    opens: int = 0
    takes: float = 0.0
    broken: trio.Event = attrs.field(factory=trio.Event)
    refusals: list[Exception] = attrs.field(factory=list)

    def fail(self) -> None:
        self.broken.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Engine]:
        await trio.sleep(self.takes)
        if self.refusals:
            raise self.refusals.pop(0)
        self.opens += 1
        self.broken = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work)
            yield Engine(self.opens)
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        await self.broken.wait()
        raise RuntimeError("out of memory")


@asynccontextmanager
async def kept() -> AsyncIterator[tuple[SharedServices, Parts]]:
    async with trio.open_nursery() as nursery:
        parts = Parts(nursery, Metrics())
        yield SharedServices(parts), parts
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_a_service_that_failed_is_opened_again_and_stays_the_same_object(autojump_clock: MockClock) -> None:
    flaky = Flaky(takes=2.0)
    async with kept() as (shared, parts):
        async with shared.use("stt", flaky.open, name="stt") as engine, shared.use("stt", flaky.open) as same:
            assert engine is same
            assert engine.number == 1
            flaky.fail()
            await trio.sleep(1.0)
            assert parts.down == ["shared stt"]
            with pytest.raises(ProviderUnavailable, match="stt has failed and is being started again"):
                engine.number  # noqa: B018 - it raises
            await trio.sleep(2.0)
            assert (engine.number, same.number) == (2, 2)
            assert parts.down == []
        assert flaky.opens == 2


async def test_a_service_that_cannot_be_opened_again_is_tried_on(autojump_clock: MockClock) -> None:
    flaky = Flaky()
    async with kept() as (shared, parts):
        async with shared.use("stt", flaky.open) as engine:
            flaky.refusals = [ProviderUnavailable("no model")] * 3
            flaky.fail()
            await trio.sleep(60.0)
            assert engine.number == 2
            assert parts.health["shared open"].restarts == 4


async def test_a_service_whose_last_user_leaves_while_it_is_down_is_not_opened_again(autojump_clock: MockClock) -> None:
    flaky = Flaky()
    async with kept() as (shared, parts):
        async with shared.use("stt", flaky.open):
            flaky.fail()
            await trio.sleep(0.1)
            assert parts.down
        await trio.sleep(60.0)
        assert flaky.opens == 1
        assert parts.health == {}


async def test_a_service_whose_last_user_leaves_while_it_is_being_opened_again_is_closed(
    autojump_clock: MockClock,
) -> None:
    flaky = Flaky()
    async with kept() as (shared, parts):
        async with shared.use("stt", flaky.open):
            flaky.takes = 30.0
            flaky.fail()
            await trio.sleep(5.0)
        await trio.sleep(60.0)
        assert flaky.opens == 1
        assert parts.health == {}
