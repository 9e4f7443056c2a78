"""A place at the embedded model's server: waited for until a request may begin, and left for one that cannot wait."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from agentd import deadlines
from agentd_providers.local.admission import Admission, Request

LONGEST_WAIT = deadlines.MODEL_PLACE.seconds


@attrs.frozen
class Wish:
    """A request was first wanted at second `at` of the monotonic clock, and can wait for `leeway` seconds."""

    at: float
    leeway: float = 0.0

    @property
    def due(self) -> float:
        return self.at + self.leeway

    @property
    def latest(self) -> float:
        """From then on it is made in any case."""
        return self.at + LONGEST_WAIT


@attrs.define(eq=False)
class Place:
    """That of one request, as long as it is computed."""

    may_leave: Callable[[], bool]
    """Whether what is computed can be left now, to be gone on with later."""
    _wanted: bool = attrs.field(default=False, init=False)
    _kept: trio.CancelScope | None = attrs.field(default=None, init=False)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Around one wait for the server: it is cancelled when who cannot wait wants the place, and what follows it in
        the block is not done."""
        with trio.CancelScope() as self._kept:
            self._leave_if_wanted()
            yield
        self._kept = None

    def step_aside(self) -> None:
        """It is wanted by who cannot wait."""
        self._wanted = True
        self._leave_if_wanted()

    def _leave_if_wanted(self) -> None:
        if self._wanted and self._kept is not None and self.may_leave():
            self._kept.cancel()


@asynccontextmanager
async def a_place(
    admission: Admission, wish: Wish, may_leave: Callable[[], bool] | None = None
) -> AsyncIterator[Place]:
    """A place, from when the request may begin. None: it is not left for others."""
    let_in = trio.Event()
    place = Place(may_leave or _never)
    step_aside = place.step_aside if may_leave is not None else None
    request = admission.ask(trio.current_time(), wish.due, let_in.set, step_aside)
    try:
        with trio.move_on_at(wish.latest):
            await _let_in(admission, request, let_in)
        yield place
    finally:
        admission.leave(request, trio.current_time())


async def _let_in(admission: Admission, request: Request, let_in: trio.Event) -> None:
    with trio.move_on_at(request.due):
        await let_in.wait()
        return
    admission.look(trio.current_time())
    await let_in.wait()


def _never() -> bool:
    return False
