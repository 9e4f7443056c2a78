"""An engine in a process of its own.

Engines hold the GIL between their native calls, and the line's 20 ms clock must not wait for them; so each runs
in a worker process at lower priority. Jobs are done one at a time, in order. A caller that is cancelled leaves
at once: a job that has begun is finished by its owner, the worker's task, and its result thrown away, so no engine
is ever abandoned half-way and no hang-up waits for one.

A process that died or hangs (agentd_providers.local.hung) is replaced: the job that it was at fails, those that wait
are done by the fresh one, if their callers still wait by then. While none can be had, nobody is made to wait for it.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import structlog
import trio
import trio_parallel

from agentd import deadlines
from agentd.agent import Readiness
from agentd.errors import ProviderError, ProviderUnavailable
from agentd_providers.local.engine_process import EngineProcess
from agentd_providers.local.engine_side import nothing, prepare_process
from agentd_providers.local.hung import ASK_EVERY, LOAD_WITHIN, PATIENCE, SMALL_JOB, pause_before_start
from agentd_providers.local.process_watch import EngineLost

log = structlog.get_logger("agentd_providers.local")

T = TypeVar("T")
JOB_QUEUE = 64
"""Jobs that may wait for an engine; with more, an answer would come too late to be of use."""


@attrs.define(eq=False)
class Job:
    """One piece of work, which may take `limit` seconds; `error` is what it raised."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    limit: float = SMALL_JOB
    posted_at: float = attrs.field(factory=trio.current_time)
    done: trio.Event = attrs.field(factory=trio.Event)
    wanted: bool = True
    result: Any = None
    error: Exception | None = None

    def fail(self, why: str) -> None:
        """It is not done any more."""
        self.error = ProviderUnavailable(why)
        self.done.set()


@attrs.define(eq=False)
class EngineWorker:
    """One engine's process. `load` is its first job, in every process anew. `restarts` counts how often the process was
    started again. Made by `open_worker`."""

    name: str
    on_restart: Callable[[str], None]
    load: Callable[[], object]
    restarts: int = attrs.field(default=0, init=False)
    _jobs: deque[Job] = attrs.field(factory=deque, init=False)
    _posted: trio.Event = attrs.field(factory=trio.Event, init=False)
    _current: Job | None = attrs.field(default=None, init=False)
    _tried: trio.Event = attrs.field(factory=trio.Event, init=False)
    """The first start has ended, well or not."""
    _unready: str = attrs.field(default="", init=False)
    """Why no job can be taken; empty while one can, be it for a process that is just being replaced."""
    _fruitful: bool = attrs.field(default=False, init=False)
    """The present process has done a job."""

    @property
    def readiness(self) -> Readiness:
        return Readiness(not self._unready, self._unready)

    @property
    def idle(self) -> bool:
        """It takes jobs, and has none."""
        return not self._unready and self._current is None and not self._jobs

    @property
    def waiting(self) -> int:
        """Jobs that wait for those before them."""
        return sum(job.wanted for job in self._jobs)

    def oldest(self, now: float) -> float:
        """Seconds since the oldest job was asked for that somebody waits for; 0 when there is none."""
        jobs = self._jobs if self._current is None else [self._current, *self._jobs]
        return max((now - job.posted_at for job in jobs if job.wanted), default=0.0)

    async def loaded(self) -> None:
        """Wait until the engine can work. Raises ProviderUnavailable when it cannot be loaded, or started."""
        await self._tried.wait()
        if self._unready:
            raise ProviderUnavailable(self._unready)

    async def run(
        self, function: Callable[..., T], *args: Any, limit: float = SMALL_JOB, patience: float = PATIENCE
    ) -> T:
        """Run a function of a module in the engine's process, for at most `limit` seconds. See `post` and `outcome`."""
        result: T = await self.outcome(self.post(function, *args, limit=limit), patience)
        return result

    async def outcome(self, job: Job, patience: float = PATIENCE) -> Any:
        """What a job's function gives.

        Raises:
            ProviderUnavailable: the engine died or hung (it is started again), or cannot be started; or the job was not
                done within `patience` seconds, not counting those that the first start takes.
            ProviderError: what the function raised, if it is one.

        Cancelling gives up the result; see the module's docstring.
        """
        try:
            await self._tried.wait()
            with trio.fail_after(patience):
                await job.done.wait()
        except trio.TooSlowError:
            raise ProviderUnavailable(
                f"{self.name}: not done within {patience:g} s, {self.waiting} jobs wait; the host is too slow"
            ) from None
        finally:
            job.wanted = False
        if job.error is not None:
            raise job.error
        return job.result

    def post(self, function: Callable[..., Any], *args: Any, limit: float = SMALL_JOB) -> Job:
        """Have a function of a module run in the engine's process, for at most `limit` seconds: its outcome is asked
        for later, or never.

        Raises ProviderUnavailable when the queue is full or the engine cannot be started.
        """
        if self._unready:
            raise ProviderUnavailable(self._unready)
        if len(self._jobs) >= JOB_QUEUE:
            raise ProviderUnavailable(f"{self.name}: {JOB_QUEUE} jobs wait already; the host is too slow")
        job = Job(function, args, limit)
        self._jobs.append(job)
        self._posted.set()
        return job

    async def work(self) -> None:
        """Do the jobs; the owner's task. It raises nothing."""
        try:
            async with trio_parallel.open_worker_context(
                idle_timeout=math.inf, init=prepare_process, grace_period=deadlines.ENGINE_GRACE.seconds
            ) as context:
                process = EngineProcess(context)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(process.watch.run)
                    await self._keep(process)
        except trio_parallel.BrokenWorkerError as error:  # one that was stopped does not end by itself
            log.debug("engine process was killed at its end", engine=self.name, error=str(error))
        finally:
            self._refuse(f"{self.name}: the engine is being shut down")

    async def _keep(self, process: EngineProcess) -> None:
        """Have a process that serves, again and again."""
        fruitless = 0
        while True:
            self._fruitful = False
            try:
                await self._start(process)
                await self._serve(process)
            except EngineLost as lost:
                fruitless = 0 if self._fruitful else fruitless + 1
                pause = pause_before_start(fruitless)
                log.error("engine process is started again", engine=self.name, why=str(lost), retry_in_s=pause)
                await trio.sleep(pause)
            self.restarts += 1
            self.on_restart(self.name)

    async def _start(self, process: EngineProcess) -> None:
        """Start the process and load the engine. Raises EngineLost; until another attempt succeeds jobs are refused."""
        try:
            await process.start()
            await process.do(self.load, (), LOAD_WITHIN, watched=False)
        except EngineLost as lost:
            why = f"its process {lost}"
        except Exception as error:  # noqa: BLE001 - whatever a broken model file makes an engine raise
            why = str(error) if isinstance(error, ProviderError) else f"{type(error).__name__}: {error}"
        else:
            self._unready = ""
            self._tried.set()
            return
        self._refuse(f"{self.name}: the engine cannot be started: {why}")
        raise EngineLost(why)

    async def _serve(self, process: EngineProcess) -> None:
        """Do jobs while the process lives; one that has nothing to do is asked whether it is there. Raises
        EngineLost."""
        while True:
            if not await self._posted_within(ASK_EVERY):
                await process.ask()
                continue
            if not process.alive:
                raise EngineLost("died")  # the jobs are for the next one
            job = self._jobs.popleft()
            if not job.wanted:
                continue
            self._current = job
            try:
                job.result = await process.do(job.function, job.args, job.limit)
            except EngineLost as lost:
                self._current = None
                job.fail(f"{self.name}: the engine's process {lost}; it is started again")
                raise
            except Exception as error:  # noqa: BLE001 - not ours to judge: it is raised in the call that asked
                job.error = error
            self._current = None
            self._fruitful = True
            job.done.set()

    async def _posted_within(self, seconds: float) -> bool:
        while not self._jobs:
            self._posted = trio.Event()
            with trio.move_on_after(seconds) as deadline:
                await self._posted.wait()
            if deadline.cancelled_caught:
                return False
        return True

    def _refuse(self, why: str) -> None:
        """Take no jobs from now on, and tell whoever waits for one."""
        self._unready = why
        self._tried.set()
        jobs = [*self._jobs] if self._current is None else [self._current, *self._jobs]
        self._current = None
        self._jobs.clear()
        for job in jobs:
            if not job.done.is_set():
                job.fail(why)


@asynccontextmanager
async def open_worker(
    name: str, on_restart: Callable[[str], None], load: Callable[[], object] = nothing
) -> AsyncIterator[EngineWorker]:
    """A worker for the engine `name`, whose process is started with the block and ends with it. `load`, a function of a
    module, is run in it before anything else."""
    async with trio.open_nursery() as nursery:
        worker = EngineWorker(name, on_restart, load)
        nursery.start_soon(worker.work)
        try:
            yield worker
        finally:
            nursery.cancel_scope.cancel()
