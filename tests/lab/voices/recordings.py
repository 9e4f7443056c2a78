"""The sentences that people recorded for other purposes, as `recordings.tsv` has them, and their samples.

A row is a stretch of a file. Its `cut`s are the seconds, of the file, at which a word ends and the sentence does not:
there it can be held up, and there a `|` stands in the words. They lie in the deepest dip of the level near there; in
free speech, where the speaker paused. The words are those that two transcribers heard (Moonshine, Whisper), put right
by hand where the sentence is a known one (the Harvard sentences, spelling alphabets, call signs).

Of codec2-examples these are no turns: david4 and vk2tpm_004 (a modem's signal), mmt1 (its hiss is as loud as the ends
of the words), wia (a piece of a sentence), a part of ve9qrp whose words are not sure; of linphone's greeting the first
sentence, for the same reason. So the speakers vk2tpm and wia say nothing, and "codec2 david" is cq_ref alone.
"""

import wave
from pathlib import Path
from typing import Final

import attrs
import numpy as np
from scipy.signal import resample_poly

from .conditions import RATE, Samples
from .texts import PAUSE

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
    again: bool = False
    """The sentence is there before, with another cut."""

    def samples(self, root: Path) -> Samples:
        """The sentence, at 8 kHz. Raises ValueError where the file is not mono, 16 bits, of that rate."""
        path = root / self.file
        sound = _wav(path, self.rate) if path.suffix == ".wav" else path.read_bytes()
        samples = np.frombuffer(sound, "<i2").astype(np.float64)
        stretch = samples[round(self.start * self.rate) : round(self.end * self.rate)]
        return np.asarray(resample_poly(stretch, RATE, self.rate)) if self.rate != RATE else stretch


def recordings(table: Path = TABLE) -> list[Recording]:
    """The table, a sentence once for each of its cuts. Raises ValueError where its columns are not those that are
    expected, or the words have not as many `|` as the row has cuts."""
    heading, *rows = (line.split("\t") for line in table.read_text("utf-8").splitlines())
    if tuple(heading) != COLUMNS:
        raise ValueError(f"{table}: expected the columns {COLUMNS}, got {tuple(heading)}")
    return [recording for row in rows for recording in _each_cut(table, *row)]


def _each_cut(
    table: Path, speaker: str, source: str, file: str, rate: str, start: str, end: str, cuts: str, marked: str
) -> list[Recording]:
    pieces = [piece.strip() for piece in marked.split(PAUSE)]
    at: list[float | None] = [float(cut) for cut in cuts.split()]
    if len(at) != len(pieces) - 1:
        raise ValueError(f"{table}: expected {len(pieces) - 1} cuts as in {marked!r}, got {cuts!r}")
    whole = Recording(speaker, source, file, int(rate), float(start), float(end), None, " ".join(pieces))
    return [attrs.evolve(whole, cut=cut, again=number > 0) for number, cut in enumerate(at or [None])]


def _wav(path: Path, rate: int) -> bytes:
    with wave.open(str(path), "rb") as sound:
        found = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
        if found != (1, 2, rate):
            raise ValueError(f"{path}: expected 1 channel, 2 bytes a sample, {rate} Hz; got {found}")
        return sound.readframes(sound.getnframes())
