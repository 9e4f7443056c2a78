"""Engine processes of one kind: so many requests at once, so many may wait, and no more are let in."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.agent import Readiness
from agentd.errors import ProviderError, ProviderUnavailable
from agentd_providers.local.hung import SMALL_JOB
from agentd_providers.local.worker import EngineWorker, open_worker
from agentd_providers.wyoming.server.metrics import SpeechMetrics

log = structlog.get_logger("agentd_providers.wyoming")

T = TypeVar("T")
PATIENCE = deadlines.ENGINE_LENT_WAIT.seconds


class NoCapacity(ProviderUnavailable):
    """More requests than the engines can answer in time."""


@attrs.define(eq=False)
class EnginePool:
    """`engine` is its name, stt or tts. `max_waiting` requests may wait beside those that are worked at."""

    engine: str
    max_waiting: int
    metrics: SpeechMetrics
    workers: tuple[EngineWorker, ...]
    requests: int = attrs.field(default=0, init=False)
    """Requests that were let in and are not answered yet."""
    _load: dict[EngineWorker, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._load = dict.fromkeys(self.workers, 0)
        self._show()
        self.metrics.oldest.labels(engine=self.engine).set_function(self.oldest)

    @property
    def busy(self) -> int:
        """Processes at work."""
        return min(self.requests, len(self.workers))

    @property
    def waiting(self) -> int:
        """Requests that wait for a process."""
        return self.requests - self.busy

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Let a request in for as long as the block runs. Raises NoCapacity."""
        if self.requests >= len(self.workers) + self.max_waiting:
            raise NoCapacity(f"{self.engine}: {self.requests} requests are worked at or wait already")
        self.requests += 1
        self._show()
        try:
            yield
        finally:
            self.requests -= 1
            self._show()

    @contextmanager
    def least_busy(self) -> Iterator[EngineWorker]:
        """The process that has the least to do, of those that can work; while the block runs it has one thing more."""
        worker = min(self.workers, key=lambda worker: (not worker.readiness.ready, self._load[worker]))
        self._load[worker] += 1
        try:
            yield worker
        finally:
            self._load[worker] -= 1

    async def run(self, function: Callable[..., T], *args: Any, limit: float = SMALL_JOB) -> T:
        """Run a function of a module in the least busy process, for at most `limit` seconds. Raises ProviderError,
        whatever the engine raised."""
        with self.least_busy() as worker, as_provider_errors(self.engine):
            return await worker.run(function, *args, limit=limit, patience=PATIENCE)

    @property
    def readiness(self) -> Readiness:
        """Ready as long as one process is, and its own detail else."""
        return next((worker.readiness for worker in self.workers if worker.readiness.ready), self.workers[0].readiness)

    def oldest(self) -> float:
        """Seconds since the oldest job was asked for that is not done yet."""
        return max(worker.oldest(trio.current_time()) for worker in self.workers)

    async def loaded(self) -> None:
        """Wait until every process has loaded its model. Raises ProviderError."""
        for worker in self.workers:
            await worker.loaded()

    def _show(self) -> None:
        self.metrics.busy.labels(engine=self.engine).set(self.busy)
        self.metrics.waiting.labels(engine=self.engine).set(self.waiting)


@contextmanager
def as_provider_errors(engine: str) -> Iterator[None]:
    """An engine that chokes on what a client sent fails that client's request, not the server."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as error:
        log.exception("an engine failed", engine=engine)
        raise ProviderUnavailable(f"{engine}: the engine failed ({type(error).__name__})") from error


@asynccontextmanager
async def open_pool(
    engine: str, processes: int, max_waiting: int, metrics: SpeechMetrics, load: Callable[[], object]
) -> AsyncIterator[EnginePool]:
    """A pool whose processes start with the block, each with `load`, and end with it."""
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                open_worker(engine, lambda name: metrics.restarts.labels(engine=name).inc(), load)
            )
            for _ in range(processes)
        ]
        yield EnginePool(engine, max_waiting, metrics, tuple(workers))
