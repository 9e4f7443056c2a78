"""A call's story that something happens to at its n-th step: at every await point there is."""

from collections.abc import Awaitable, Callable

import attrs
import trio

from tests.shell.call_scene import Scene


@attrs.define(eq=False)
class AtStep(trio.abc.Instrument):
    """Acts before the n-th step that any task takes from now on."""

    act: Callable[[], None]
    at: float = float("inf")
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.act()


Act = Callable[[Scene, trio.CancelScope], None]


async def play(scene: Scene, story: Callable[[Scene], Awaitable[None]], act: Act, at: float) -> int:
    """Run the call while the story is told; `act(scene, scope)` at step `at` may cancel the call by its scope.

    Gives the number of steps, once the call has left nothing.
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

    instrument = AtStep(lambda: act(scene, scope), at)
    with trio.fail_after(300):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            nursery.start_soon(tell)
            trio.lowlevel.add_instrument(instrument)
    trio.lowlevel.remove_instrument(instrument)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    scene.nothing_is_left()
    return instrument.steps
