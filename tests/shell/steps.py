"""A call's story that something happens to wherever it stands: at every await point there is."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from tests.shell.call_scene import Scene


def awaited(task: trio.lowlevel.Task) -> int:
    """Where a task waits: all of its frames, from the outermost to the innermost, as one number."""
    places: list[tuple[int, int]] = []
    awaits: Any = task.coro
    while (frame := getattr(awaits, "cr_frame", None) or getattr(awaits, "ag_frame", None)) is not None:
        places.append((id(frame.f_code), frame.f_lasti))
        awaits = getattr(awaits, "cr_await", None) or getattr(awaits, "ag_await", None)
    return hash(tuple(places))


@attrs.define(eq=False)
class AtSituation(trio.abc.Instrument):
    """Acts before the n-th step that is a new one from now on: never before has a task gone on from there while the
    others waited where they do.

    Most steps of a call are a beat of its line, in which nothing else has changed: what happens there has happened.
    """

    act: Callable[[], None]
    at: float = float("inf")
    situations: int = 0
    _waiting: dict[trio.lowlevel.Task, int] = attrs.field(factory=dict, init=False)
    _seen: set[tuple[int, frozenset[int]]] = attrs.field(factory=set, init=False)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.situations >= self.at:
            return
        situation = (self._waiting.get(task, 0), frozenset(self._waiting.values()))
        if situation not in self._seen:
            self._seen.add(situation)
            self.situations += 1
            if self.situations == self.at:
                self.act()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.situations < self.at:
            self._waiting[task] = awaited(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._waiting.pop(task, None)


Act = Callable[[Scene, trio.CancelScope], None]


async def play(scene: Scene, story: Callable[[Scene], Awaitable[None]], act: Act, at: float) -> int:
    """Run the call while the story is told; `act(scene, scope)` at situation `at` may cancel the call by its scope.

    Gives the number of situations that came before it, once the call has left nothing.
    """
    tasks = trio.lowlevel.current_statistics().tasks_living
    scope, over = trio.CancelScope(), trio.CancelScope()

    async def run() -> None:
        with scope:
            await scene.run()
        over.cancel()

    async def tell() -> None:
        with over:
            await story(scene)

    instrument = AtSituation(lambda: act(scene, scope), at)
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            nursery.start_soon(tell)
            trio.lowlevel.add_instrument(instrument)
    trio.lowlevel.remove_instrument(instrument)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    scene.nothing_is_left()
    return instrument.situations
