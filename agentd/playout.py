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
REMEMBERED = 16
"""Withdrawn utterances of which something may still come."""


@attrs.define(eq=False)
class PlayoutBuffer:
    """The agent's words that the caller has not heard yet.

    A session `put`s chunks; `next_utterance` gives them to the playback, one utterance at a time. `interrupt`
    moves the generation on: everything of the old one is dropped here and refused from then on, and a
    session that waits for room goes on at once. `overran` is told when a session gets further ahead than
    `seconds` and has to wait: once, until half of it has been played. `withdraw` does the same for one utterance.
    """

    seconds: float = 30.0
    overran: Callable[[], None] | None = None
    numbered: int = 0
    """Utterances that the call has had already."""
    generation: int = attrs.field(default=0, init=False)
    buffered: float = attrs.field(default=0.0, init=False)
    fed_at: float = attrs.field(default=-math.inf, init=False)
    """When audio came last (trio's clock)."""
    _chunks: deque[Chunk] = attrs.field(factory=deque, init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _interruption: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)
    _overrun: bool = attrs.field(default=False, init=False)
    _withdrawn: deque[int] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    _brought: tuple[int, float] = attrs.field(default=(0, 0.0), init=False)
    """The utterance whose audio came last, and how many seconds of it have come."""

    @property
    def empty(self) -> bool:
        """True when nothing waits to be heard."""
        return not self._chunks

    def number(self) -> int:
        """See agentd.agent.Playout.number."""
        self.numbered += 1
        return self.numbered

    def brought(self, utterance: int) -> float:
        """Seconds of audio of an utterance that have come so far; 0 once another one's has."""
        return self._brought[1] if self._brought[0] == utterance else 0.0

    def is_void(self, utterance: int, generation: int) -> bool:
        """Whether nothing more of an utterance is to be heard."""
        return generation != self.generation or generation == CLOSED or utterance in self._withdrawn

    async def put(self, chunk: Chunk) -> None:
        """Append a chunk; waits while `seconds` of audio are buffered, but for an utterance's end: there is always room
        for that. A chunk of an older generation, or of a withdrawn utterance, is dropped."""
        await trio.lowlevel.checkpoint()
        waits = not isinstance(chunk, UtteranceEnd)
        while waits and self.buffered >= self.seconds and not self.is_void(chunk.utterance, chunk.generation):
            self._note_overrun()
            await self._changed.park()
        if self.is_void(chunk.utterance, chunk.generation):
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

    def withdraw(self, utterance: int) -> None:
        """Drop what waits of one utterance, and whatever it still brings; others stay as they are."""
        self._withdrawn.append(utterance)
        dropped = [chunk for chunk in self._chunks if chunk.utterance == utterance]
        self._chunks = deque(chunk for chunk in self._chunks if chunk.utterance != utterance)
        self.buffered -= sum(chunk.seconds for chunk in dropped if isinstance(chunk, Audio))
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
        while not self._chunks and not self.is_void(utterance, generation):
            await self._changed.park()
        if self.is_void(utterance, generation) or self._chunks[0].utterance != utterance:
            return None
        chunk = self._chunks.popleft()
        if isinstance(chunk, Audio):
            self.buffered -= chunk.seconds
            self._overrun = self._overrun and self.buffered > self.seconds / 2
            self._changed.unpark_all()
        return chunk

    async def until_void(self, utterance: int, generation: int) -> None:
        """Wait until nothing more of an utterance is to be heard."""
        await trio.lowlevel.checkpoint()
        while not self.is_void(utterance, generation):
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
        """True once an interruption, or its session, has made the rest of this utterance void."""
        return self._buffer.is_void(self.utterance, self.generation)

    async def next(self) -> SegmentStart | Audio | SegmentEnd | None:
        """The next chunk, or None at the end."""
        chunk = await self._buffer.take(self.utterance, self.generation)
        if isinstance(chunk, UtteranceEnd):
            self.cut = chunk.cut
            return None
        return chunk

    async def until_interrupted(self) -> None:
        """Wait until `interrupted` turns true."""
        await self._buffer.until_void(self.utterance, self.generation)
