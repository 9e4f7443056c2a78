"""The parts of a service (the daemon, the speech server): the children of its root nursery, each in a frame of its own.

A part that fails ends nothing but itself. It is logged and counted once, and started again, with back-off
(agentd.service.restarts); meanwhile the health page says so. What a part raises before it has started is its starter's:
an address that is taken ends the daemon. Cancelled is not failed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import structlog
import trio
from prometheus_client import Counter

from agentd.errors import AgentdError, Failure, contained
from agentd.service.report import PartHealth
from agentd.service.restarts import RestartSchedule

log = structlog.get_logger("agentd.parts")

Run = Callable[..., Awaitable[object]]


class PartMetrics(Protocol):
    """Where it is counted how often parts were started again."""

    @property
    def daemon_part_restarts(self) -> Counter: ...


@attrs.define(eq=False)
class Part:
    """One part. `up` once it has started; `why` tells of its last failure."""

    name: str
    up: bool = False
    why: str = ""
    restarts: int = 0


@attrs.define(eq=False)
class Parts:
    """The parts that run in `nursery`, in which nothing else may.

    `start` and `start_soon` are those of a nursery, but that a part which raises is run again. One that returns is
    over. The name is for logs, the health page and the metric's label: no secret, and nothing of a call.
    """

    nursery: trio.Nursery
    metrics: PartMetrics
    _parts: list[Part] = attrs.field(factory=list, init=False)

    async def start(self, run: Run, *args: object, name: str) -> Any:
        """Start a part that tells by `task_status` when it is up, with a value that is given back. When it is run
        again, its telling is how it is known to be up; the value goes nowhere.

        Raises what it raises before. Cancelling it then cancels the part.
        """
        return await self.nursery.start(self._keep_started, run, args, name, name=name)

    def start_soon(self, run: Run, *args: object, name: str) -> None:
        """Start a part that is up from the beginning."""
        self.nursery.start_soon(self._keep, run, args, name, name=name)

    @property
    def health(self) -> Mapping[str, PartHealth]:
        """How each part is, by name; of two of one name that which is worse off."""
        by_name = dict[str, PartHealth]()
        for part in self._parts:
            worst = by_name.get(part.name)
            if worst is None or worst.up:
                by_name[part.name] = PartHealth(part.up, part.why, part.restarts)
        return by_name

    @property
    def down(self) -> Sequence[str]:
        """The names of the parts that have failed and are not up again."""
        return [part.name for part in self._parts if not part.up and part.restarts]

    async def _keep_started(  # noqa: ASYNC128 - passes task_status on
        self, run: Run, args: Sequence[object], name: str, *, task_status: trio.TaskStatus[Any]
    ) -> None:
        part = Part(name)
        started = _Started(part, task_status)

        async def live() -> None:
            await run(*args, task_status=started)
            if not started.ever:
                raise RuntimeError(f"{name} ended before it had started")

        await self._restart(part, live, lambda: started.ever)

    async def _keep(self, run: Run, args: Sequence[object], name: str) -> None:
        part = Part(name)

        async def live() -> None:
            part.up = True
            await run(*args)

        await self._restart(part, live, lambda: True)

    async def _restart(self, part: Part, live: Callable[[], Awaitable[None]], begun: Callable[[], bool]) -> None:
        """Have a part live, again and again, until it returns, or raises before it has `begun`."""
        schedule, since, pause = RestartSchedule(), 0.0, 0.0

        def failed(failure: Failure) -> bool:
            nonlocal pause
            if begun():
                pause = schedule.pause(trio.current_time() - since)
                self._failed(part, failure, pause)
            return begun()

        self._parts.append(part)
        try:
            while True:
                since = trio.current_time()
                with contained(failed):
                    await live()
                    return
                await trio.sleep(pause)
        finally:
            self._parts.remove(part)

    def _failed(self, part: Part, failure: Failure, pause: float) -> None:
        part.up, part.why = False, _shown(failure)
        part.restarts += 1
        self.metrics.daemon_part_restarts.labels(part=part.name).inc()
        log.error(
            "a part of the daemon failed; it is started again", part=part.name, retry_in_s=pause, exc_info=failure
        )


@attrs.frozen
class _Started:
    """A part's word that it is up: its starter hears the first one."""

    part: Part
    first: trio.TaskStatus[Any]
    _told: list[bool] = attrs.field(factory=list, init=False)

    @property
    def ever(self) -> bool:
        return bool(self._told)

    def started(self, value: Any = None) -> None:
        if not self._told:
            self.first.started(value)
            self._told.append(True)
        self.part.up = True


def _shown(failure: Failure) -> str:
    """A failure as the health page may show it: our own words and the system's; of a defect only its name, for its
    words may be anybody's."""
    if isinstance(failure, AgentdError | OSError):
        return str(failure)
    return f"{type(failure).__name__}; the log tells more"
