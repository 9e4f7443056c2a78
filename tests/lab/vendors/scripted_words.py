"""What a fake vendor hears and says: a phrase of a script for each loud stretch, and a tone for each text."""

import math
from collections.abc import Sequence

import attrs
import numpy as np

LOUD = 500
"""A sample this far from zero is no silence."""
GAP = 0.3
"""Seconds of silence that end a stretch."""
SHORTEST = 0.06
"""Seconds of a stretch that is somebody's word, and no click."""
WORD_SECONDS = 0.2
KEY = 200
"""Samples that a stretch is known again by."""


@attrs.frozen
class Heard:
    """A word, with the seconds of its begin and end."""

    word: str
    start: float
    end: float


@attrs.define(eq=False)
class Script:
    """The phrases that callers say, one a stretch, from the first again after the last. A stretch that is heard once
    more, byte for byte, is the same phrase again."""

    phrases: Sequence[str]
    _known: dict[bytes, str] = attrs.field(factory=dict, init=False)

    def know(self, pcm: bytes, rate: int, phrase: str) -> None:
        """Of a stretch with this sound (slin at `rate` Hz) the phrase is known, in the script or not."""
        samples = np.frombuffer(pcm, "<i2")
        ((begin, _end),) = _stretches(samples, rate)
        self._known[samples[begin : begin + KEY].tobytes()] = phrase

    def words(self, pcm: bytes, rate: int, *, over: bool = True) -> list[Heard]:
        """The words in slin at `rate` Hz: each takes 0.2 s, the last of a stretch until its end. Unless it is `over`,
        the last stretch may go on: of its phrase only what was said by now is heard."""
        samples = np.frombuffer(pcm, "<i2")
        heard: list[Heard] = []
        found = _stretches(samples, rate)
        for begin, end in found:
            words = self._phrase(samples[begin : begin + KEY].tobytes()).split()
            going_on = not over and (begin, end) == found[-1] and len(samples) - end < GAP * rate
            for number, word in enumerate(words):
                start = begin / rate + number * WORD_SECONDS
                stop = start + WORD_SECONDS
                if stop > end / rate:
                    if going_on:
                        break
                    start, stop = min(start, end / rate - 0.01), end / rate
                heard.append(Heard(word, start, stop))
        return heard

    def _phrase(self, key: bytes) -> str:
        return self._known.setdefault(key, self.phrases[len(self._known) % len(self.phrases)])


def _stretches(samples: "np.ndarray[tuple[int], np.dtype[np.int16]]", rate: int) -> list[tuple[int, int]]:
    """Begin and end of each loud stretch, in samples."""
    (loud,) = np.nonzero(np.abs(samples.astype(np.int32)) >= LOUD)
    found: list[tuple[int, int]] = []
    if not len(loud):
        return found
    cuts = np.nonzero(np.diff(loud) > GAP * rate)[0]
    for first, last in zip([0, *(cuts + 1)], [*cuts, len(loud) - 1], strict=True):
        begin, end = int(loud[first]), int(loud[last]) + 1
        if end - begin >= SHORTEST * rate:
            found.append((begin, end))
    return found


def tone(text: str, rate: int) -> bytes:
    """What a fake voice makes of a text: a tone of 440 Hz, slin at `rate` Hz, 50 ms a character."""
    moments = np.arange(round(0.05 * len(text) * rate)) / rate
    return bytes(np.rint(8000 * np.sin(2 * math.pi * 440 * moments)).astype("<i2").tobytes())
