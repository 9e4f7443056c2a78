"""The parts of the daemon: each in a frame of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.errors import AriError
from agentd.metrics import Metrics
from agentd.service.parts import Parts
from agentd.service.report import PartHealth
from agentd.service.restarts import FIRST_DELAY


@attrs.define(eq=False)
class Work:
    """What a part does: raises these errors, one a life, and then goes on for good; `takes` seconds to start."""

    errors: list[BaseException] = attrs.field(factory=list)
    refusals: list[BaseException] = attrs.field(factory=list)
    """The same, before it has started."""
    takes: float = 0.0
    after: float = 0.0
    begun_at: list[float] = attrs.field(factory=list)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        self.begun_at.append(trio.current_time())
        await trio.sleep(self.takes)
        if self.refusals:
            raise self.refusals.pop(0)
        task_status.started(len(self.begun_at))
        await trio.sleep(self.after)
        if self.errors:
            raise self.errors.pop(0)
        await trio.sleep_forever()


@asynccontextmanager
async def running() -> AsyncIterator[Parts]:
    async with trio.open_nursery() as nursery:
        yield Parts(nursery, Metrics())
        nursery.cancel_scope.cancel()


def restarts(parts: Parts, name: str) -> float:
    return parts.metrics.registry.get_sample_value("agentd_daemon_part_restarts_total", {"part": name}) or 0.0


async def test_a_part_that_raises_is_started_again_and_ends_nothing_else(autojump_clock: MockClock) -> None:
    work = Work([ValueError("a defect"), OSError("no memory")])
    async with running() as parts:
        parts.start_soon(work.run, name="pump")
        await trio.sleep(10)
        assert work.begun_at == [0.0, FIRST_DELAY, FIRST_DELAY * 3]
        assert restarts(parts, "pump") == 2
        assert parts.health == {"pump": PartHealth(True, "no memory", 2)}


async def test_meanwhile_it_is_down_and_says_why(autojump_clock: MockClock) -> None:
    async with running() as parts:
        parts.start_soon(Work([AriError("nobody is there")]).run, name="pump")
        parts.start_soon(Work([ValueError("+49301234567")]).run, name="secretive")
        parts.start_soon(Work().run, name="other")
        await trio.sleep(FIRST_DELAY / 2)
        assert {*parts.down} == {"pump", "secretive"}
        assert parts.health == {
            "pump": PartHealth(False, "nobody is there", 1),
            "secretive": PartHealth(False, "ValueError; the log tells more", 1),
            "other": PartHealth(True),
        }


async def test_it_is_logged_once_with_its_traceback(autojump_clock: MockClock) -> None:
    failure = ValueError("a defect")
    async with running() as parts:
        with structlog.testing.capture_logs() as logs:
            parts.start_soon(Work([failure]).run, name="pump")
            await trio.sleep(100)
    assert [(log["log_level"], log["part"], log["retry_in_s"], log["exc_info"]) for log in logs] == [
        ("error", "pump", FIRST_DELAY, failure)
    ]


async def test_what_is_started_gives_its_value_once_and_is_up_when_it_says_so_again(autojump_clock: MockClock) -> None:
    work = Work([ValueError()], takes=2.0)
    async with running() as parts:
        assert await parts.start(work.run, name="page") == 1
        await trio.sleep(1.0)
        assert parts.down == ["page"]
        await trio.sleep(2.0)
        assert parts.down == []
        assert parts.health["page"].up


async def test_what_a_part_raises_before_it_has_started_is_its_starter_s(autojump_clock: MockClock) -> None:
    async with running() as parts:
        with pytest.raises(OSError, match="taken"):
            await parts.start(Work(refusals=[OSError("taken")]).run, name="page")
        await trio.sleep(100)
        assert parts.health == {}
        assert restarts(parts, "page") == 0


async def test_one_that_raises_before_it_is_up_again_is_tried_on(autojump_clock: MockClock) -> None:
    work = Work([ValueError()], after=1.0)
    async with running() as parts:
        await parts.start(work.run, name="page")
        work.refusals = [OSError("taken") for _ in range(5)]
        await trio.sleep(2.0)
        assert parts.down == ["page"]
        await trio.sleep(100)
        assert parts.health["page"] == PartHealth(True, "taken", 6)


async def test_cancelled_is_not_failed(autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as logs:
        async with running() as parts:
            parts.start_soon(Work().run, name="pump")
            await parts.start(Work().run, name="page")
        assert parts.health == {}
    assert logs == []


async def test_what_fails_while_it_is_cancelled_does_not_come_back(autojump_clock: MockClock) -> None:
    async def stubborn() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the end")

    async with running() as parts:
        parts.start_soon(stubborn, name="pump")
        await trio.sleep(1.0)
    assert restarts(parts, "pump") == 1


async def test_one_that_returns_is_over(autojump_clock: MockClock) -> None:
    async with running() as parts:
        parts.start_soon(trio.sleep, 5, name="nap")
        await trio.sleep(1)
        assert parts.health == {"nap": PartHealth(True)}
        await trio.sleep(10)
        assert parts.health == {}
        assert restarts(parts, "nap") == 0


async def test_one_that_calls_for_the_end_ends_itself(autojump_clock: MockClock) -> None:
    async with running() as parts:
        parts.start_soon(Work([SystemExit(3)]).run, name="plugin")
        await trio.sleep(10)
        assert parts.health["plugin"] == PartHealth(True, "SystemExit; the log tells more", 1)


async def test_of_two_of_one_name_the_worse_one_is_shown(autojump_clock: MockClock) -> None:
    async with running() as parts:
        for errors in ([], [ValueError("x")], []):
            parts.start_soon(Work(list(errors)).run, name="stt")
        await trio.sleep(FIRST_DELAY / 2)
        assert not parts.health["stt"].up


async def test_a_group_of_failures_is_one_failure(autojump_clock: MockClock) -> None:
    failure = OSError("broken")
    async with running() as parts:
        with structlog.testing.capture_logs() as logs:
            parts.start_soon(Work([ExceptionGroup("both", [failure, ValueError()])]).run, name="pump")
            await trio.sleep(10)
        assert parts.health["pump"].detail == "broken"
    assert len(logs) == 1
