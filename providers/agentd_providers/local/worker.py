"""An engine in a process of its own.

Engines hold the GIL between their native calls, and the line's 20 ms clock must not wait for them; so each runs
in a worker process at lower priority. Jobs are done one at a time, in order. A caller that is cancelled leaves
at once: a job that has begun is finished by its owner, the worker's task, and its result thrown away, so no engine
is ever abandoned half-way and no hang-up waits for one.
"""

import math
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import attrs
import structlog
import trio
import trio_parallel

from agentd import deadlines
from agentd.errors import ProviderUnavailable

log = structlog.get_logger("agentd_providers.local")

T = TypeVar("T")
NICENESS = 5
JOB_QUEUE = 64
"""Jobs that may wait for an engine; with more, an answer would come too late to be of use."""
JOB_DEADLINE = 30.0
"""Seconds until a job that does not end counts as a hung engine."""


@attrs.define(eq=False)
class Job:
    """One piece of work; `error` is what it raised."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    done: trio.Event = attrs.field(factory=trio.Event)
    wanted: bool = True
    result: Any = None
    error: Exception | None = None


@attrs.define(eq=False)
class EngineWorker:
    """One engine's process. `restarts` counts how often it was started again after it died."""

    name: str
    on_restart: Callable[[str], None]
    _send: trio.MemorySendChannel[Job]
    restarts: int = attrs.field(default=0, init=False)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function of a module in the engine's process.

        Raises:
            ProviderUnavailable: the queue is full, or the engine died or hung (it is started again).
            ProviderError: what the function raised, if it is one.

        Cancelling gives up the result; see the module's docstring.
        """
        job = self.post(function, *args)
        try:
            await job.done.wait()
        finally:
            job.wanted = False
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]

    def post(self, function: Callable[..., Any], *args: Any) -> "Job":
        """The same without waiting: for work whose outcome is asked for later, or never."""
        job = Job(function, args)
        try:
            self._send.send_nowait(job)
        except trio.WouldBlock:
            raise ProviderUnavailable(f"{self.name}: {JOB_QUEUE} jobs wait already; the host is too slow") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ProviderUnavailable(f"{self.name}: the engine is being shut down") from None
        return job

    async def work(self, receive: trio.MemoryReceiveChannel[Job]) -> None:
        """Do the jobs; the owner's task."""
        job: Job | None = None
        try:
            async with trio_parallel.open_worker_context(
                idle_timeout=math.inf, init=_prepare_process, grace_period=deadlines.ENGINE_GRACE.seconds
            ) as context:
                limiter = trio.CapacityLimiter(1)
                async for job in receive:
                    if not job.wanted:
                        continue
                    await self._do(context, limiter, job)
                    job.done.set()
        finally:
            self._give_up(job, receive)

    def _give_up(self, job: Job | None, receive: trio.MemoryReceiveChannel[Job]) -> None:
        """Tell whoever still waits that no job is done any more."""
        jobs = [] if job is None else [job]
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                jobs.append(receive.receive_nowait())
        receive.close()
        for left in jobs:
            if not left.done.is_set():
                left.error = ProviderUnavailable(f"{self.name}: the engine is being shut down")
                left.done.set()

    async def _do(self, context: Any, limiter: trio.CapacityLimiter, job: Job) -> None:
        try:
            with trio.fail_after(JOB_DEADLINE):
                job.result = await context.run_sync(job.function, *job.args, kill_on_cancel=True, limiter=limiter)
        except (trio_parallel.BrokenWorkerError, trio.TooSlowError) as error:
            self.restarts += 1
            self.on_restart(self.name)
            why = "hung" if isinstance(error, trio.TooSlowError) else "died"
            log.error("engine process is started again", engine=self.name, why=why)
            job.error = ProviderUnavailable(f"{self.name}: the engine's process {why}; it is started again")
        except Exception as error:  # noqa: BLE001 - not ours to judge: it is raised in the call that asked
            job.error = error


@asynccontextmanager
async def open_worker(name: str, on_restart: Callable[[str], None]) -> AsyncIterator[EngineWorker]:
    """A worker for the engine `name`; its process starts with the first job and ends with the block."""
    send, receive = trio.open_memory_channel[Job](JOB_QUEUE)
    async with trio.open_nursery() as nursery:
        worker = EngineWorker(name, on_restart, send)
        nursery.start_soon(worker.work, receive)
        try:
            yield worker
        finally:
            send.close()
            nursery.cancel_scope.cancel()


def _prepare_process() -> None:
    """In the worker: yield to the daemon's loop, and leave signals to it. (It ends when its pipe does. No
    PR_SET_PDEATHSIG: it fires when the *thread* ends that made the process, and Trio's threads come and go.)"""
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
