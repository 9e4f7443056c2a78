"""Engines that several agents share: opened once, closed with their last user."""

from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar

import attrs
import trio

from agentd import deadlines

T = TypeVar("T")


class JobQueue(Protocol):
    """Jobs in front of an engine, as the metrics show them."""

    @property
    def name(self) -> str: ...

    @property
    def waiting(self) -> int: ...

    def oldest(self, now: float) -> float:
        """Seconds since the oldest was asked for that is not done yet, at the monotonic second `now`; 0 if all are."""
        ...


@attrs.define(eq=False)
class _Service:
    lock: trio.Lock = attrs.field(factory=trio.Lock)
    users: int = 0
    resource: Any = None
    scope: trio.CancelScope | None = None
    closed: trio.Event | None = None


@attrs.define(eq=False)
class SharedServices:
    """Services by key. Each runs in a task of `nursery`, which must outlive every user.

    Providers report through the callbacks: `on_restart(engine)` when an engine's process was started
    again, `observe_audio_delay(seconds)` from the arrival of caller audio to an engine's call, `on_unknown(vendor)`
    when a vendor sent a message that we do not know, or could not read, `on_left_out(turns)` when a prompt went without
    the oldest turns of its conversation, the model's context being full.
    """

    nursery: trio.Nursery
    on_restart: Callable[[str], None] = lambda _engine: None
    observe_audio_delay: Callable[[float], None] = lambda _seconds: None
    on_unknown: Callable[[str], None] = lambda _vendor: None
    on_left_out: Callable[[int], None] = lambda _turns: None
    _services: dict[Hashable, _Service] = attrs.field(factory=dict, init=False, repr=False)
    """Keys may hold secrets: never shown."""
    _queues: list[JobQueue] = attrs.field(factory=list, init=False, repr=False)

    @asynccontextmanager
    async def use(self, key: Hashable, factory: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncIterator[T]:
        """The service of this key, made by `factory` if nobody uses it yet. Raises what `factory` raises."""
        service = self._services.setdefault(key, _Service())
        service.users += 1
        try:
            async with service.lock:
                if service.scope is None:
                    service.resource = await self.nursery.start(self._hold, service, factory)
            yield service.resource
        finally:
            service.users -= 1
            if not service.users:
                self._services.pop(key, None)
                if service.scope is not None and service.closed is not None:
                    service.scope.cancel()
                    with trio.move_on_after(deadlines.SERVICE_CLOSE.seconds, shield=True):
                        await service.closed.wait()

    @contextmanager
    def showing(self, queue: JobQueue) -> Iterator[None]:
        """Let the metrics show an engine's queue for as long as the block is entered."""
        self._queues.append(queue)
        try:
            yield
        finally:
            self._queues.remove(queue)

    def jobs_waiting(self, engine: str) -> int:
        """Jobs that wait, in all queues of engines of this name."""
        return sum(queue.waiting for queue in self._queues if queue.name == engine)

    def oldest_job(self, engine: str) -> float:
        """Seconds since the oldest of their jobs was asked for."""
        now = trio.current_time()
        return max((queue.oldest(now) for queue in self._queues if queue.name == engine), default=0.0)

    async def _hold(
        self,
        service: _Service,
        factory: Callable[[], AbstractAsyncContextManager[T]],
        *,
        task_status: trio.TaskStatus[T],
    ) -> None:
        closed = trio.Event()
        try:
            with trio.CancelScope() as scope:
                async with factory() as resource:
                    service.scope, service.closed = scope, closed
                    task_status.started(resource)
                    await trio.sleep_forever()
        finally:
            closed.set()
