"""The playout buffer between a session and the playback: bounded in seconds, emptied by an interruption."""

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from agentd.agent import Audio, Chunk, SegmentEnd, SegmentStart, UtteranceEnd

CLOSED = -1
"""A generation that no chunk has."""


@attrs.define(eq=False)
class PlayoutBuffer:
    """The agent's words that the caller has not heard yet.

    A session `put`s chunks; `next_utterance` gives them to the playback, one utterance at a time. `interrupt`
    moves the generation on: everything of the old one is dropped here and refused from then on, and a
    session that waits for room goes on at once. `overran` is told when a session gets further ahead than
    `seconds` and has to wait: once, until half of it has been played.
    """

    seconds: float = 30.0
    overran: Callable[[], None] | None = None
    generation: int = attrs.field(default=0, init=False)
    buffered: float = attrs.field(default=0.0, init=False)
    fed_at: float = attrs.field(default=-math.inf, init=False)
    """When audio came last (trio's clock)."""
    _chunks: deque[Chunk] = attrs.field(factory=deque, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _interruption: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _overrun: bool = attrs.field(default=False, init=False)
    _numbered: int = attrs.field(default=0, init=False)
    _brought: tuple[int, float] = attrs.field(default=(0, 0.0), init=False)
    """The utterance whose audio came last, and how many seconds of it have come."""

    @property
    def empty(self) -> bool:
        """True when nothing waits to be heard."""
        return not self._chunks

    def number(self) -> int:
        """See agentd.agent.Playout.number."""
        self._numbered += 1
        return self._numbered

    def brought(self, utterance: int) -> float:
        """Seconds of audio of an utterance that have come so far; 0 once another one's has."""
        return self._brought[1] if self._brought[0] == utterance else 0.0

    async def put(self, chunk: Chunk) -> None:
        """Append a chunk; waits while `seconds` of audio are buffered, but for an utterance's end: there is always room
        for that. An older generation's chunk is dropped."""
        await trio.lowlevel.checkpoint()
        waits = not isinstance(chunk, UtteranceEnd)
        while waits and chunk.generation == self.generation != CLOSED and self.buffered >= self.seconds:
            self._note_overrun()
            await self._changed.park()
        if chunk.generation != self.generation or self.generation == CLOSED:
            return
        self._chunks.append(chunk)
        if isinstance(chunk, Audio):
            self.buffered += chunk.seconds
            self.fed_at = trio.current_time()
            utterance, seconds = self._brought
            before = seconds if utterance == chunk.utterance else 0.0
            self._brought = (chunk.utterance, before + chunk.seconds)
        self._changed.unpark_all()

    def interrupt(self) -> None:
        """Drop everything that waits, and whatever the old generation still brings."""
        if self.generation != CLOSED:
            self.generation += 1
        self._chunks.clear()
        self.buffered = 0.0
        self._overrun = False
        self._changed.unpark_all()
        self._interruption.unpark_all()

    def close(self) -> None:
        """The call is ending: drop everything, and whatever may still be brought."""
        self.interrupt()
        self.generation = CLOSED

    async def next_utterance(self) -> "UtteranceStream":
        """Wait until an utterance begins; its stream must be read to its end before the next is asked for."""
        await trio.lowlevel.checkpoint()
        while True:
            while not self._chunks:
                await self._changed.park()
            if not isinstance(first := self._chunks[0], UtteranceEnd):
                return UtteranceStream(self, first.utterance, self.generation)
            self._chunks.popleft()  # the end of an utterance that brought nothing

    async def take(self, utterance: int, generation: int) -> Chunk | None:
        """The next chunk of an utterance; None once an interruption (or another utterance) has ended it."""
        await trio.lowlevel.checkpoint()
        while self.generation == generation and not self._chunks:
            await self._changed.park()
        if self.generation != generation or self._chunks[0].utterance != utterance:
            return None
        chunk = self._chunks.popleft()
        if isinstance(chunk, Audio):
            self.buffered -= chunk.seconds
            self._overrun = self._overrun and self.buffered > self.seconds / 2
            self._changed.unpark_all()
        return chunk

    async def until_interrupted(self, generation: int) -> None:
        """Wait until `generation` is void."""
        await trio.lowlevel.checkpoint()
        while self.generation == generation:
            await self._interruption.park()

    def _note_overrun(self) -> None:
        if not self._overrun and self.overran is not None:
            self.overran()
        self._overrun = True


class UtteranceSource(Protocol):
    """One utterance as a playback reads it: straight from the playout, or what another playback left of it."""

    @property
    def utterance(self) -> int: ...

    @property
    def generation(self) -> int: ...

    @property
    def interrupted(self) -> bool:
        """True once an interruption has made the rest of this utterance void."""
        ...

    @property
    def cut(self) -> bool:
        """True once it has ended before it was complete (see UtteranceEnd)."""
        ...

    async def next(self) -> SegmentStart | Audio | SegmentEnd | None:
        """The next chunk, or None at the end. Cancelling it loses nothing."""
        ...

    async def until_interrupted(self) -> None:
        """Wait until `interrupted` turns true."""
        ...


@attrs.define(eq=False)
class UtteranceStream:
    """The chunks of one utterance as they come; it ends with the utterance, or at an interruption."""

    _buffer: PlayoutBuffer
    utterance: int
    generation: int
    cut: bool = attrs.field(default=False, init=False)

    @property
    def interrupted(self) -> bool:
        """True once an interruption has made the rest of this utterance void."""
        return self._buffer.generation != self.generation

    async def next(self) -> SegmentStart | Audio | SegmentEnd | None:
        """The next chunk, or None at the end."""
        chunk = await self._buffer.take(self.utterance, self.generation)
        if isinstance(chunk, UtteranceEnd):
            self.cut = chunk.cut
            return None
        return chunk

    async def until_interrupted(self) -> None:
        """Wait until `interrupted` turns true."""
        await self._buffer.until_interrupted(self.generation)
