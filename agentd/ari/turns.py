"""Turns at what takes a few at a time only: the places, and in which order they are given."""

import heapq
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define(order=True)
class _Waiting:
    rank: float
    number: int
    """The place in the order of arrival."""
    turn: trio.Event = attrs.field(factory=trio.Event, order=False)
    gone: bool = attrs.field(default=False, order=False)


@attrs.define(eq=False)
class Turns:
    """`places` at a time. Of those who wait the lowest rank is next, and within a rank who came first."""

    places: int
    taken: int = attrs.field(default=0, init=False)
    _waiting: list[_Waiting] = attrs.field(factory=list, init=False, repr=False)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count, init=False, repr=False)

    @asynccontextmanager
    async def turn(self, rank: float) -> AsyncIterator[None]:
        """Hold a place for as long as the block runs, which begins when it is this one's turn."""
        await self.take(rank)
        try:
            yield
        finally:
            self.give_back()

    async def take(self, rank: float) -> None:
        """Wait for a place, and hold it until `give_back`. Cancelled, it holds none."""
        waiting = _Waiting(rank, next(self._numbers))
        heapq.heappush(self._waiting, waiting)
        try:
            await trio.lowlevel.checkpoint()  # tasks of one moment run in any order: all of them have a say first
            self._give()
            await waiting.turn.wait()
        except trio.Cancelled:
            waiting.gone = True
            if waiting.turn.is_set():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a place to who is next."""
        self.taken -= 1
        self._give()

    def _give(self) -> None:
        while self._waiting and self.taken < self.places:
            if not (waiting := heapq.heappop(self._waiting)).gone:
                self.taken += 1
                waiting.turn.set()
