"""An engine in a process of its own: real processes, small work."""

import errno
import multiprocessing.process
import multiprocessing.util
import operator
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd.testing.clock import until
from agentd_providers.local import worker as module
from agentd_providers.local.engine_process import EngineProcess
from agentd_providers.local.engine_side import NICENESS, nothing
from agentd_providers.local.worker import JOB_QUEUE, EngineWorker, open_worker
from tests.shell.engine_work import append, die, leave, load, loaded, process_facts, refuse, wait_for


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
async def running(directory: Path, load: Callable[[], object] = nothing) -> AsyncIterator[RunningWorker]:
    """A worker; it leaves no process and no task."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    restarts: list[str] = []
    with trio.fail_after(60):
        async with open_worker("tts", restarts.append, load) as worker:
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
        assert await process.worker.run(process_facts) == (pid, min(os.nice(0) + NICENESS, 19), True)
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


async def test_an_engine_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        hung, *_ = await process.worker.run(process_facts)
        with pytest.raises(ProviderUnavailable, match="hung"):
            await process.worker.run(wait_for, process.gate, "", limit=0.1)
        assert await process.worker.run(operator.add, 1, 2) == 3
        assert process.restarts == ["tts"]
        assert not await alive(hung)


async def test_the_jobs_behind_the_one_of_a_hung_engine_are_done_by_the_fresh_process(tmp_path: Path) -> None:
    """Each of them hung in its turn, for as long again: one hung job was the end of every call."""
    async with running(tmp_path) as process:
        hung, *_ = await process.worker.run(process_facts)
        hangs = process.worker.post(wait_for, process.gate, "", limit=0.1)
        waiting = [process.worker.post(process_facts) for _ in range(3)]
        await waiting[-1].done.wait()
        assert isinstance(hangs.error, ProviderUnavailable)
        assert [job.error for job in waiting] == [None] * 3
        (fresh,) = {job.result[0] for job in waiting}
        assert fresh != hung
        assert process.worker.readiness.ready  # a caller who comes meanwhile is no trouble


# --- stopped


async def test_an_engine_that_is_stopped_in_a_job_is_found_long_before_the_job_s_limit(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        stopped, *_ = await process.worker.run(process_facts)
        job = process.worker.post(wait_for, process.gate, "", limit=3600)
        waits = process.worker.post(process_facts)
        await trio.testing.wait_all_tasks_blocked(0.05)
        os.kill(stopped, signal.SIGSTOP)
        await job.done.wait()
        assert "hung: it did nothing" in str(job.error)
        await waits.done.wait()
        assert waits.result[0] != stopped
        assert not await alive(stopped)
        assert process.restarts == ["tts"]


async def test_an_engine_that_is_stopped_between_two_jobs_is_found_by_asking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASK_EVERY", 0.05)
    async with running(tmp_path) as process:
        stopped, *_ = await process.worker.run(process_facts)
        os.kill(stopped, signal.SIGSTOP)
        await until(lambda: process.restarts == ["tts"])
        assert (await process.worker.run(process_facts))[0] != stopped
        assert not await alive(stopped)


async def test_an_engine_with_nothing_to_do_is_asked_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    ask = EngineProcess.ask

    async def counted(process: EngineProcess) -> None:
        nonlocal asked
        await ask(process)
        asked += 1

    monkeypatch.setattr(module, "ASK_EVERY", 0.01)
    monkeypatch.setattr(EngineProcess, "ask", counted)
    async with running(tmp_path) as process:
        before, *_ = await process.worker.run(process_facts)
        await until(lambda: asked > 3)
        assert (await process.worker.run(process_facts))[0] == before
        assert process.restarts == []


async def test_an_engine_that_is_stopped_is_gone_when_the_worker_is_closed(tmp_path: Path) -> None:
    """trio-parallel raised because it had to kill a process, and the daemon ended."""
    async with running(tmp_path) as process:
        stopped, *_ = await process.worker.run(process_facts)
        os.kill(stopped, signal.SIGSTOP)
    assert not await alive(stopped)


# --- starting again


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
async def test_a_start_that_fails_is_tried_again_and_meanwhile_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """The error was raised in the call that had asked, as no provider's."""

    def refuse_to_start(*_args: object) -> int:
        raise OSError(error, os.strerror(error))

    async with running(tmp_path) as process:
        await process.worker.run(operator.add, 1, 1)
        with monkeypatch.context() as patch:
            patch.setattr(multiprocessing.util, "spawnv_passfds", refuse_to_start)
            with pytest.raises(ProviderUnavailable, match="died"):
                await process.worker.run(die)
            with pytest.raises(ProviderUnavailable, match=os.strerror(error)):
                await process.worker.run(operator.add, 1, 1)
            assert not process.worker.readiness.ready
            assert os.strerror(error) in process.worker.readiness.detail
            with pytest.raises(ProviderUnavailable, match=os.strerror(error)):  # at once
                process.worker.post(operator.add, 1, 1)
        await until(lambda: process.worker.readiness.ready)
        assert await process.worker.run(operator.add, 1, 1) == 2


async def test_a_thread_that_cannot_be_had_is_no_more_than_a_failed_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_named: object) -> None:
        raise RuntimeError("can't start new thread")  # CPython's threading, when pthread_create gives EAGAIN

    with monkeypatch.context() as patch:
        patch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
        async with running(tmp_path) as process:
            with pytest.raises(ProviderUnavailable, match="can't start new thread"):
                await process.worker.loaded()
            patch.undo()
            await until(lambda: process.worker.readiness.ready)
            assert await process.worker.run(operator.add, 1, 1) == 2


async def test_every_process_loads_the_engine_before_its_first_job(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_text("first")
    async with running(tmp_path, partial(load, str(model))) as process:
        await process.worker.loaded()
        model.write_text("second")
        assert await process.worker.run(loaded) == ["first"]
        with pytest.raises(ProviderUnavailable, match="died"):
            await process.worker.run(die)
        assert await process.worker.run(loaded) == ["second"]


async def test_an_engine_that_cannot_be_loaded_says_why_and_is_tried_again(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_text("broken")
    async with running(tmp_path, partial(load, str(model))) as process:
        with pytest.raises(ProviderUnavailable, match="tts: the engine cannot be started: ValueError: not a model"):
            await process.worker.loaded()
        with pytest.raises(ProviderUnavailable, match="not a model"):
            await process.worker.run(loaded)
        model.write_text("whole")
        await until(lambda: process.worker.readiness.ready)
        assert (await process.worker.run(loaded))[-1] == "whole"


async def test_a_job_that_is_there_before_the_engine_is_loaded_waits_for_it(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_text("model")
    async with running(tmp_path, partial(load, str(model))) as process:
        assert await process.worker.run(loaded, patience=10) == ["model"]


async def test_an_engine_that_would_end_its_process_does_not_end_the_daemon(tmp_path: Path) -> None:
    """SystemExit came over the pipe, and was raised in the worker's task."""
    async with running(tmp_path) as process:
        before, *_ = await process.worker.run(process_facts)
        with pytest.raises(ProviderUnavailable, match="wanted to end its process: SystemExit"):
            await process.worker.run(leave)
        assert (await process.worker.run(process_facts))[0] == before


# --- the queue


async def test_whoever_has_waited_for_as_long_as_a_caller_does_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await process.worker.run(operator.add, 1, 1)
        busy = process.worker.post(wait_for, process.gate, "", limit=3600)
        with pytest.raises(ProviderUnavailable, match=r"not done within 0\.1 s"):
            await process.worker.run(operator.add, 1, 1, patience=0.1)
        process.open_gate()
        await busy.done.wait()
        assert process.restarts == []


async def test_who_has_time_sees_whether_the_engine_has(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        worker = process.worker
        await worker.loaded()
        assert worker.idle
        job = worker.post(wait_for, process.gate, "done")
        assert not worker.idle
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not worker.idle
        process.open_gate()
        assert await worker.outcome(job) == "done"
        assert worker.idle


async def test_an_outcome_may_be_asked_for_again_and_late(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        good, bad = process.worker.post(operator.add, 1, 1), process.worker.post(operator.truediv, 1, 0)
        await bad.done.wait()
        for _ in range(2):
            assert await process.worker.outcome(good) == 2
            with pytest.raises(ZeroDivisionError):
                await process.worker.outcome(bad)


async def test_an_engine_that_cannot_be_started_is_not_idle(tmp_path: Path) -> None:
    async with running(tmp_path, refuse) as process:
        with pytest.raises(ProviderUnavailable):
            await process.worker.loaded()
        assert not process.worker.idle


async def test_the_queue_shows_how_many_wait_and_for_how_long(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        worker = process.worker
        await worker.run(operator.add, 1, 1)
        assert (worker.waiting, worker.oldest(trio.current_time())) == (0, 0.0)
        first = worker.post(wait_for, process.gate, "")
        await trio.testing.wait_all_tasks_blocked(0.02)
        last = worker.post(operator.add, 1, 1)
        assert worker.waiting == 1
        assert worker.oldest(first.posted_at + 2) == pytest.approx(2)
        process.open_gate()
        await last.done.wait()
        assert (worker.waiting, worker.oldest(trio.current_time() + 2)) == (0, 0.0)


async def test_more_jobs_than_can_be_of_use_are_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await process.worker.loaded()
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
