"""The remainder of an utterance for another way of playback: a call can change over in mid-utterance."""

from collections import deque
from typing import Protocol

import attrs
import trio

from agentd.agent import Audio, SegmentEnd, SegmentStart
from agentd.playback.jitter import JitterBuffer
from agentd.playout import UtteranceSource

Piece = SegmentStart | Audio | SegmentEnd


class Reading(Protocol):
    """An utterance that was being read: `jitter` holds what was read and not heard once `read` is set."""

    @property
    def jitter(self) -> JitterBuffer: ...

    @property
    def read(self) -> trio.Event: ...

    @property
    def source_ended(self) -> bool: ...


@attrs.define(eq=False)
class Remainder:
    """The unheard rest of an utterance: first what the old playback had read already, then what the source brings.

    The segment that was being heard begins anew with its remaining words and audio. Meets `UtteranceSource`.
    """

    _source: UtteranceSource
    _reading: Reading
    _unheard: deque[Piece] | None = attrs.field(default=None, init=False)

    @property
    def utterance(self) -> int:
        return self._source.utterance

    @property
    def generation(self) -> int:
        return self._source.generation

    @property
    def interrupted(self) -> bool:
        """True once an interruption has made the rest of this utterance void."""
        return self._source.interrupted

    @property
    def cut(self) -> bool:
        """True once it has ended before it was complete."""
        return self._source.cut

    async def next(self) -> Piece | None:
        """The next chunk, or None at the end. Cancelling it loses nothing."""
        await self._reading.read.wait()
        if self._unheard is None:
            self._unheard = deque(_unheard(self._source, self._reading.jitter))
        if self.interrupted:
            return None
        if self._unheard:
            return self._unheard.popleft()
        return None if self._reading.source_ended else await self._source.next()

    async def until_interrupted(self) -> None:
        """Wait until `interrupted` turns true."""
        await self._source.until_interrupted()


def _unheard(source: UtteranceSource, jitter: JitterBuffer) -> list[Piece]:
    generation, utterance = source.generation, source.utterance
    pieces: list[Piece] = []
    for segment, pcm in jitter.remaining():
        words = segment.words.behind(segment.words_heard(jitter.rate))
        pieces.append(SegmentStart(generation, utterance, words.text, words.spoken))
        if pcm:
            pieces.append(Audio(generation, utterance, pcm, jitter.rate))
        if segment.complete:
            pieces.append(SegmentEnd(generation, utterance))
    return pieces
