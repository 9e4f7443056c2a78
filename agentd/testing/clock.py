"""Time in tests: Trio's virtual clock, which jumps to the next deadline whenever nobody has anything to do.

Use it wherever only Trio's own time is waited for. Threads, processes and sockets go by the real time: with them it
jumps too early.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio
import trio.testing

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds within which everything has to happen that a test waits for, on however busy a host."""


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


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something that must come to be so. Raises trio.TooSlowError after `patience` seconds."""
    with trio.fail_after(patience):
        while not condition():  # noqa: ASYNC110 - what tests wait for tells nobody when it changes
            await trio.sleep(0.01)
