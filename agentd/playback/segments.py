"""Cutting an utterance into segments that are played alone, one file each. Pure."""

import attrs

from agentd.agent import Audio, SegmentEnd, SegmentStart
from agentd.audio.resample import Resampler

FILE_RATE = 8000
LONGEST_SEGMENT = 8.0
"""Seconds of audio after which an utterance without segment marks is cut into the next file."""


@attrs.define
class SegmentCutter:
    """Cuts an utterance's chunks into pieces for one file each. Pure."""

    longest: float = LONGEST_SEGMENT
    _text: str = attrs.field(default="", init=False)
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    _resampler: Resampler | None = attrs.field(default=None, init=False)
    _rate: int = attrs.field(default=0, init=False)

    def feed(self, chunk: SegmentStart | Audio | SegmentEnd | None) -> list[tuple[str, bytes]]:
        """Take a chunk (None: the end); gives the (text, 8 kHz slin) pieces that are complete now."""
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
            self._text = f"{self._text} {chunk.text}".strip()
        return pieces

    def _flush(self) -> None:
        if self._resampler is not None:
            self._pcm += self._resampler.flush()
            self._resampler = None

    def _cut(self) -> list[tuple[str, bytes]]:
        self._flush()
        if not self._pcm:
            return []
        piece = (self._text, bytes(self._pcm))
        self._text = ""
        self._pcm.clear()
        return [piece]
