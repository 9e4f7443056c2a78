"""The sentences that people recorded for other purposes, as `recordings.tsv` has them, and their samples.

A row is a stretch of a file. A `cut` is the second, of the file, at which a word ends and the sentence does not: there
it can be held up.
"""

import wave
from pathlib import Path
from typing import Final

import attrs
import numpy as np
from scipy.signal import resample_poly

from .conditions import RATE, Samples

TABLE: Final = Path(__file__).with_name("recordings.tsv")
COLUMNS: Final = ("speaker", "source", "file", "rate", "start", "end", "cut", "text")


@attrs.frozen
class Recording:
    """A sentence in a file."""

    speaker: str
    source: str
    file: str
    rate: int
    start: float
    end: float
    cut: float | None
    """None where nothing in it can be held up."""
    text: str

    def samples(self, root: Path) -> Samples:
        """The sentence, at 8 kHz. Raises ValueError where the file is not mono, 16 bits, of that rate."""
        path = root / self.file
        sound = _wav(path, self.rate) if path.suffix == ".wav" else path.read_bytes()
        samples = np.frombuffer(sound, "<i2").astype(np.float64)
        stretch = samples[round(self.start * self.rate) : round(self.end * self.rate)]
        return np.asarray(resample_poly(stretch, RATE, self.rate)) if self.rate != RATE else stretch


def recordings(table: Path = TABLE) -> list[Recording]:
    """The table. Raises ValueError where its columns are not those that are expected."""
    heading, *rows = (line.split("\t") for line in table.read_text("utf-8").splitlines())
    if tuple(heading) != COLUMNS:
        raise ValueError(f"{table}: expected the columns {COLUMNS}, got {tuple(heading)}")
    return [
        Recording(speaker, source, file, int(rate), float(start), float(end), float(cut) if cut else None, text)
        for speaker, source, file, rate, start, end, cut, text in rows
    ]


def _wav(path: Path, rate: int) -> bytes:
    with wave.open(str(path), "rb") as sound:
        found = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
        if found != (1, 2, rate):
            raise ValueError(f"{path}: expected 1 channel, 2 bytes a sample, {rate} Hz; got {found}")
        return sound.readframes(sound.getnframes())
