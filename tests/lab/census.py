"""agentd as it is, which also tells who lives in it: `python -m tests.lab.census FILE ARGUMENTS...`.

At SIGUSR1 a `Census` is written to FILE as JSON.
"""

import gc
import heapq
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.cli import main

DEADLINE = 10.0
LONGEST = 10


@attrs.frozen
class Census:
    """The names of Trio's tasks that are alive, and how many there are of each; and what took the event loop's thread
    longest at a stretch since the last time: seconds of the processor's, which tell the same however busy the host is.

    `turns`: from one look for I/O to the next, which is what a task that is due waits at most. `steps`: of a task, with
    its name; a turn is all steps of those that were due. `collections`: of Python's collector, with its generation; one
    is a part of the step in which it came.
    """

    tasks: Counter[str]
    turns: list[tuple[float, str]]
    steps: list[tuple[float, str]]
    collections: list[tuple[float, str]]


@attrs.define(eq=False)
class _Longest:
    """The longest of what was timed."""

    kept: list[tuple[float, str]] = attrs.field(factory=list, init=False)
    _began: float = attrs.field(default=0.0, init=False)

    def begin(self) -> None:
        self._began = time.thread_time()

    def end(self, name: str) -> None:
        timed = (time.thread_time() - self._began, name)
        if len(self.kept) < LONGEST:
            heapq.heappush(self.kept, timed)
        elif timed > self.kept[0]:
            heapq.heapreplace(self.kept, timed)

    def taken(self) -> list[tuple[float, str]]:
        kept, self.kept = self.kept, []
        return sorted(kept, reverse=True)


@attrs.define(eq=False)
class _Steps(trio.abc.Instrument):
    longest: _Longest = attrs.field(factory=_Longest, init=False)
    turns: _Longest = attrs.field(factory=_Longest, init=False)

    def after_io_wait(self, timeout: float) -> None:
        self.turns.begin()

    def before_io_wait(self, timeout: float) -> None:
        self.turns.end("turn")

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest.begin()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest.end(task.name)


def _names() -> Counter[str]:
    root = trio.lowlevel.current_root_task()
    tasks = [root] if root is not None else []
    for task in tasks:
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return Counter(task.name for task in tasks)


def tell_at_signal(file: Path) -> None:
    """The file appears whole."""
    steps, collections = _Steps(), _Longest()
    timed = (steps.turns, steps.longest, collections)
    trio.run = partial(trio.run, instruments=[steps])  # type: ignore[assignment]

    def collecting(phase: str, info: dict[str, Any]) -> None:
        if threading.current_thread() is threading.main_thread():
            if phase == "start":
                collections.begin()
            else:
                collections.end(f"generation {info['generation']}")

    def tell(_signal: int, _frame: object) -> None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps([_names(), *(each.taken() for each in timed)]), "utf-8")
        new.replace(file)

    gc.callbacks.append(collecting)
    signal.signal(signal.SIGUSR1, tell)


async def census(pid: int, file: Path) -> Census:
    """Of a process that was started so. Raises trio.TooSlowError."""
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    with trio.fail_after(DEADLINE):
        while not file.exists():
            await trio.sleep(0.02)
    tasks, *timed = json.loads(file.read_text("utf-8"))
    return Census(Counter(tasks), *([(seconds, name) for seconds, name in each] for each in timed))


if __name__ == "__main__":  # worker processes import this module under another name
    tell_at_signal(Path(sys.argv.pop(1)))
    sys.exit(main())
