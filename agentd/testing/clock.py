"""Time in tests: Trio's virtual clock, which jumps to the next deadline whenever nobody has anything to do.

Use it wherever only Trio's own time is waited for; and where the peer at the other end of a socket is a task of the
same run, the clock that waits a moment before it jumps, and stands still while a thread of the run works. Time stands
still while anybody works: no deadline passes because the host is busy. Processes go by the real time: with them either
clock jumps too early, and the first one does with threads.
"""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import attrs
import trio
import trio.testing

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds within which everything has to happen that a test waits for, on however busy a host."""
QUIET = 0.01
"""Real seconds without anything to do after which nothing can be on its way through the kernel to a task of this run.
Loopback delivers what is sent before the sender goes on, but for what a busy host puts off for a moment."""
NEAR = 0.03
"""Seconds of a jump that may as well be a little early: a frame of the line, which is next for most of a call. No
deadline of a peer is as short."""
GLANCE = 0.001
"""Real seconds of quiet before such a jump."""
LOOK = 0.05
"""Seconds between looks at what no task of this run may have brought about."""


def run_virtually(
    async_fn: Callable[..., Awaitable[T]],
    *args: object,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """`trio.run` on a virtual clock that jumps at once (or on `clock`); for tests that are no coroutines themselves,
    such as Hypothesis's, and as `pytest.mark.trio(run=run_virtually)`. Gives and raises what the function does."""
    clock = clock or trio.testing.MockClock(autojump_threshold=0)
    return trio.run(async_fn, *args, clock=clock, instruments=instruments)


def run_on_loopback(
    async_fn: Callable[..., Awaitable[T]],
    *args: object,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """`run_virtually` for tests with threads, and with sockets of which both ends are in this very run."""
    if clock is None:
        clock = trio.testing.MockClock(autojump_threshold=GLANCE)
        instruments = (*instruments, _Patience(clock))
    return trio.run(async_fn, *args, clock=clock, instruments=instruments)


@attrs.define(eq=False)
class _Patience(trio.abc.Instrument):
    """Keeps a clock from jumping while a thread works that a task waits for, and from jumping far too early."""

    clock: trio.testing.MockClock

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        threshold = math.inf if trio.testing.active_thread_count() else GLANCE
        if self.clock.autojump_threshold != threshold:
            self.clock.autojump_threshold = threshold

    def before_io_wait(self, timeout: float) -> None:
        if 0 < timeout <= GLANCE and NEAR < trio.lowlevel.current_statistics().seconds_to_next_deadline < math.inf:
            time.sleep(QUIET)  # whatever comes meanwhile is found right afterwards, and there is no jump


@attrs.define(eq=False)
class _Watch(trio.abc.Instrument):
    """Looks whenever a task has done a step, until there is something to see: the condition, or its failure."""

    condition: Callable[[], object]
    seen: trio.Event = attrs.field(factory=trio.Event, init=False)
    failure: Exception | None = attrs.field(default=None, init=False)

    def look(self) -> None:
        if self.seen.is_set():
            return
        try:
            met = self.condition()
        except Exception as error:  # noqa: BLE001 - Trio drops an instrument that raises; who waits is told instead
            self.failure, met = error, True
        if met:
            self.seen.set()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.look()


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something that must come to be so, and no longer: it is looked for after each step of any task. Raises
    trio.TooSlowError after `patience` seconds, and what `condition` raises."""
    await trio.lowlevel.checkpoint()
    watch = _Watch(condition)
    watch.look()
    trio.lowlevel.add_instrument(watch)
    try:
        with trio.fail_after(patience):
            while not watch.seen.is_set():
                with trio.move_on_after(LOOK):
                    await watch.seen.wait()
                watch.look()
    finally:
        trio.lowlevel.remove_instrument(watch)
    if watch.failure is not None:
        raise watch.failure
