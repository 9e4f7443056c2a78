"""An engine in a process of its own: real processes, small work."""

import operator
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd_providers.local import worker as module
from agentd_providers.local.worker import JOB_QUEUE, NICENESS, EngineWorker, open_worker
from tests.shell.engine_work import append, die, process_facts, refuse, wait_for


@attrs.define(eq=False)
class RunningWorker:
    worker: EngineWorker
    restarts: list[str]
    directory: Path

    @property
    def gate(self) -> str:
        """The file that `wait_for` waits for."""
        return str(self.directory / "gate")

    def open_gate(self) -> None:
        Path(self.gate).touch()


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[RunningWorker]:
    """A worker; it leaves no process and no task."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    restarts: list[str] = []
    with trio.fail_after(30):
        async with open_worker("tts", restarts.append) as worker:
            yield RunningWorker(worker, restarts, directory)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def alive(pid: int) -> bool:
    """Also a process that ended and was not waited for counts as alive: it is left over."""
    return await trio.Path(f"/proc/{pid}").exists()


async def test_a_function_runs_in_a_process_of_its_own_that_yields_to_the_line_and_ignores_control_c(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as process:
        pid, niceness, ignores = await process.worker.run(process_facts)
        assert pid != os.getpid()
        assert niceness == min(os.nice(0) + NICENESS, 19)
        assert ignores
        assert (await process.worker.run(process_facts))[0] == pid  # the same one for every job: it holds the engine
        assert await alive(pid)
    assert not await alive(pid)


async def test_what_a_function_raises_is_raised_to_whoever_asked_and_the_engine_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        pid, *_ = await process.worker.run(process_facts)
        with pytest.raises(ProviderRejected, match="no such voice"):
            await process.worker.run(refuse)
        with pytest.raises(ZeroDivisionError):
            await process.worker.run(operator.truediv, 1, 0)
        assert (await process.worker.run(process_facts))[0] == pid
        assert process.restarts == []


async def test_jobs_are_done_one_at_a_time_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    async with running(tmp_path) as process:
        first = process.worker.post(wait_for, process.gate, "first")
        jobs = [process.worker.post(append, path, str(number)) for number in range(10)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not Path(path).exists()
        assert not first.done.is_set()
        process.open_gate()
        await jobs[-1].done.wait()
        assert first.result == "first"
    assert Path(path).read_text().split() == [str(number) for number in range(10)]


async def test_a_caller_that_is_cancelled_leaves_at_once_and_the_engine_finishes_its_work(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        pid, *_ = await process.worker.run(process_facts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.worker.run, wait_for, process.gate, "too late")
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        process.open_gate()  # until here it was shut: nobody has waited for it
        assert await process.worker.run(process_facts) == (pid, os.nice(0) + NICENESS, True)
        assert process.restarts == []


async def test_work_that_nobody_waits_for_any_more_is_not_begun(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    async with running(tmp_path) as process:
        process.worker.post(wait_for, process.gate, "")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.worker.run, append, path, "unwanted")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        process.worker.post(append, path, "posted: nobody waits, and it is wanted all the same")
        process.open_gate()
        await process.worker.run(operator.add, 1, 1)
    assert Path(path).read_text().startswith("posted")


async def test_an_engine_that_died_is_told_counted_and_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        before, *_ = await process.worker.run(process_facts)
        with pytest.raises(ProviderUnavailable, match="tts: the engine's process died"):
            await process.worker.run(die)
        after, *_ = await process.worker.run(process_facts)
        assert after != before
        assert process.worker.restarts == 1
        assert process.restarts == ["tts"]
    assert not await alive(before)
    assert not await alive(after)


async def test_an_engine_that_is_killed_between_two_jobs_is_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        before, *_ = await process.worker.run(process_facts)
        os.kill(before, signal.SIGKILL)
        with trio.fail_after(10):
            while await alive_and_well(before):
                await trio.sleep(0.01)
        try:
            after, *_ = await process.worker.run(process_facts)
        except ProviderUnavailable:  # found dead only by the job: told once, then it works
            after, *_ = await process.worker.run(process_facts)
        assert after != before


async def alive_and_well(pid: int) -> bool:
    try:
        status = await trio.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_an_engine_that_hangs_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as process:
        hung, *_ = await process.worker.run(process_facts)
        monkeypatch.setattr(module, "JOB_DEADLINE", 0.1)
        with pytest.raises(ProviderUnavailable, match="hung"):
            await process.worker.run(wait_for, process.gate, "")
        monkeypatch.setattr(module, "JOB_DEADLINE", 30.0)
        assert await process.worker.run(operator.add, 1, 2) == 3
        assert process.restarts == ["tts"]
        assert not await alive(hung)


async def test_a_job_of_a_hung_engine_leaves_the_others_in_the_queue_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as process:
        await process.worker.run(operator.add, 0, 0)
        monkeypatch.setattr(module, "JOB_DEADLINE", 0.1)
        hangs = process.worker.post(wait_for, process.gate, "")
        waits = process.worker.post(operator.add, 1, 2)
        await hangs.done.wait()
        monkeypatch.setattr(module, "JOB_DEADLINE", 30.0)
        await waits.done.wait()
        assert isinstance(hangs.error, ProviderUnavailable)
        assert waits.result == 3 or isinstance(waits.error, ProviderUnavailable)


async def test_more_jobs_than_can_be_of_use_are_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        process.worker.post(wait_for, process.gate, "")
        await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(JOB_QUEUE):
            process.worker.post(operator.add, 1, 1)
        with pytest.raises(ProviderUnavailable, match="the host is too slow"):
            await process.worker.run(operator.add, 1, 1)
        process.open_gate()


async def test_a_worker_that_is_closed_takes_no_more_jobs(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await process.worker.run(operator.add, 1, 1)
    with pytest.raises(ProviderUnavailable, match="shut down"):
        await process.worker.run(operator.add, 1, 1)


async def test_whoever_waits_when_the_worker_is_closed_is_told(tmp_path: Path) -> None:
    """Neither the job at work nor those in the queue were ever done: who waited for them waited for ever."""
    outcomes: list[str] = []

    async def ask(worker: EngineWorker, function: Callable[..., Any], *args: Any) -> None:
        with pytest.raises(ProviderUnavailable) as caught:
            await worker.run(function, *args)
        outcomes.append(str(caught.value))

    with trio.fail_after(20):
        async with trio.open_nursery() as callers:
            async with open_worker("tts", lambda engine: None) as worker:
                await worker.run(operator.add, 1, 1)
                callers.start_soon(ask, worker, wait_for, str(tmp_path / "gate"), "")
                await trio.testing.wait_all_tasks_blocked(0.02)
                callers.start_soon(ask, worker, operator.add, 1, 1)
                await trio.testing.wait_all_tasks_blocked(0.02)
    assert outcomes == ["tts: the engine is being shut down"] * 2


async def test_closing_waits_for_no_engine_and_leaves_no_process(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        pid, *_ = await process.worker.run(process_facts)
        process.worker.post(wait_for, process.gate, "")
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert not await alive(pid)  # although the gate is shut
