"""Engines that several agents share: opened once, closed with their last user."""

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio

from agentd import deadlines

T = TypeVar("T")


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
    when a vendor sent a message that we do not know, or could not read.
    """

    nursery: trio.Nursery
    on_restart: Callable[[str], None] = lambda _engine: None
    observe_audio_delay: Callable[[float], None] = lambda _seconds: None
    on_unknown: Callable[[str], None] = lambda _vendor: None
    _services: dict[Hashable, _Service] = attrs.field(factory=dict, init=False, repr=False)
    """Keys may hold secrets: never shown."""

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
