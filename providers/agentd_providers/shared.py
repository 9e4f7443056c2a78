"""Engines that several agents share: opened once, closed with their last user, and opened again when they fail."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import attrs
import trio

from agentd import deadlines
from agentd.errors import ProviderUnavailable

T = TypeVar("T")


class Starter(Protocol):
    """A nursery; or who starts a task as a nursery does, and runs it again when it fails after it has started."""

    async def start(self, run: Callable[..., Awaitable[object]], /, *args: object, name: str) -> Any: ...


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
    name: str
    lock: trio.Lock = attrs.field(factory=trio.Lock)
    users: int = 0
    opened: bool = False
    """It has been; from then on whoever runs it opens it again."""
    resource: Any = None
    """What its factory gave; None while there is none."""
    scope: trio.CancelScope | None = None
    closed: trio.Event | None = None
    lasting: "_Lasting" = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lasting = _Lasting(self)


class _Lasting:
    """A service to its users: the same object, whichever life of the service stands behind it now.

    It has the attributes and methods of what the factory gave. While that is being opened again, asking for one raises
    ProviderUnavailable.
    """

    __slots__ = ("_service",)

    def __init__(self, service: _Service) -> None:
        object.__setattr__(self, "_service", service)

    def __getattr__(self, name: str) -> Any:
        return getattr(_behind(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_behind(self), name, value)


def _behind(lasting: _Lasting) -> Any:
    service: _Service = object.__getattribute__(lasting, "_service")
    if service.resource is None:
        raise ProviderUnavailable(f"{service.name} has failed and is being started again")
    return service.resource


@attrs.define(eq=False)
class SharedServices:
    """Services by key. Each runs in a task of `nursery`, which must outlive every user.

    Providers report through the callbacks: `on_restart(engine)` when an engine's process was started
    again, `observe_audio_delay(seconds)` from the arrival of caller audio to an engine's call, `on_unknown(vendor)`
    when a vendor sent a message that we do not know, or could not read, `on_left_out(turns)` when a prompt went without
    the oldest turns of its conversation, the model's context being full.
    """

    nursery: Starter
    on_restart: Callable[[str], None] = lambda _engine: None
    observe_audio_delay: Callable[[float], None] = lambda _seconds: None
    on_unknown: Callable[[str], None] = lambda _vendor: None
    on_left_out: Callable[[int], None] = lambda _turns: None
    _services: dict[Hashable, _Service] = attrs.field(factory=dict, init=False, repr=False)
    """Keys may hold secrets: never shown."""
    _known: dict[Hashable, Any] = attrs.field(factory=dict, init=False, repr=False)
    _queues: list[JobQueue] = attrs.field(factory=list, init=False, repr=False)

    @asynccontextmanager
    async def use(
        self, key: Hashable, factory: Callable[[], AbstractAsyncContextManager[T]], name: str = ""
    ) -> AsyncIterator[T]:
        """The service of this key, made by `factory` if nobody uses it yet; `name` is how logs and the health page call
        it.

        Raises what `factory` raises. A service that fails later is made again by `factory`, and its users keep what
        they were given: an object with the attributes and methods of what `factory` gives.
        """
        service = self._services.setdefault(key, _Service(name or _name_of(factory)))
        service.users += 1
        try:
            async with service.lock:
                if not service.opened:
                    await self.nursery.start(self._hold, service, factory, name=f"shared {service.name}")
                    service.opened = True
            yield cast("T", service.lasting)
        finally:
            service.users -= 1
            if not service.users:
                self._services.pop(key, None)
                if service.scope is not None and service.closed is not None:
                    service.scope.cancel()
                    with trio.move_on_after(deadlines.SERVICE_CLOSE.seconds, shield=True):
                        await service.closed.wait()

    def known(self, key: Hashable, factory: Callable[[], T]) -> T:
        """What is known of a peer, for as long as the daemon runs: made by `factory` where nothing is."""
        return cast("T", self._known.setdefault(key, factory()))

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
        task_status: trio.TaskStatus[None],
    ) -> None:
        """One life of a service."""
        if not service.users:
            return  # the last one left while it was to be opened again
        service.closed = closed = trio.Event()
        try:
            with trio.CancelScope() as service.scope:
                async with factory() as resource:
                    service.resource = resource
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            service.resource = None
            closed.set()


def _name_of(factory: Callable[[], object]) -> str:
    """What a factory is called, whatever was bound to it."""
    while isinstance(factory, partial):
        factory = factory.func
    return str(getattr(factory, "__name__", type(factory).__name__)).strip("_")
