"""Cutting an utterance into segments that are played alone, one file each. Pure."""

import attrs

from agentd.agent import Audio, SegmentEnd, SegmentStart
from agentd.audio.resample import Resampler
from agentd.playback.heard import Words

FILE_RATE = 8000
LONGEST_SEGMENT = 8.0
"""Seconds of audio after which an utterance without segment marks is cut into the next file."""


@attrs.define
class SegmentCutter:
    """Cuts an utterance's chunks into pieces for one file each. Pure."""

    longest: float = LONGEST_SEGMENT
    _words: Words = attrs.field(factory=Words, init=False)
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    _resampler: Resampler | None = attrs.field(default=None, init=False)
    _rate: int = attrs.field(default=0, init=False)

    def feed(self, chunk: SegmentStart | Audio | SegmentEnd | None) -> list[tuple[Words, bytes]]:
        """Take a chunk (None: the end); gives the (words, 8 kHz slin) pieces that are complete now."""
        if isinstance(chunk, Audio):
            if self._resampler is None or self._rate != chunk.rate:
                self._flush()
                self._resampler, self._rate = Resampler(chunk.rate, FILE_RATE), chunk.rate
            self._pcm += self._resampler.feed(chunk.pcm)
            if len(self._pcm) >= self.longest * FILE_RATE * 2:
                return self._cut()
            return []
        pieces = self._cut()
        if isinstance(chunk, SegmentStart):
            self._words += Words(chunk.text, chunk.spoken)
        return pieces

    def _flush(self) -> None:
        if self._resampler is not None:
            self._pcm += self._resampler.flush()
            self._resampler = None

    def _cut(self) -> list[tuple[Words, bytes]]:
        self._flush()
        if not self._pcm:
            return []
        piece = (self._words, bytes(self._pcm))
        self._words = Words()
        self._pcm.clear()
        return [piece]
