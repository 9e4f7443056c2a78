"""Turns of people who talk to each other: the lines of a play, as `dialogues.tsv` has them, and their samples.

The talkie of Flight of the Amazon Queen (in Debian's main) is some thousand lines of everyday English, each spoken by
an actor in the melody of a talk, a sentence or a part of one in each file. What is read aloud elsewhere is not said to
anybody; these ask, answer, list, hesitate, and many a file ends where the speaker goes on in the next one.

The table has no words: only which file, where it can be held up, and of which kind a turn it makes. It was written by
`python -m tests.lab.voices.find_dialogues`, and its kinds are what a transcriber heard (Moonshine), not what anybody
read: a hesitation is a cut between words of one clause, and one after which the transcriber put a mark is taken for a
sentence that goes on. So some labels are wrong.

The archive: `engines/queen/resource.cpp` of ScummVM (`Resource::readTableFile`) reads the same.
"""

import io
import re
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import soundfile
from scipy.signal import resample_poly

from .conditions import RATE, Samples
from .texts import Kind

TABLE: Final = Path(__file__).with_name("dialogues.tsv")
COLUMNS: Final = ("speaker", "kind", "cut", "files")
SOURCE: Final = "flight-of-the-amazon-queen"
ARCHIVE: Final = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
HERO: Final = "amazon queen joe"
OTHERS: Final = "amazon queen others"
MAGIC: Final = b"QTBLCEM10"
MP3: Final = 1
_HEADING: Final = struct.Struct(">9s3xBH")
_ENTRY: Final = struct.Struct(">12sBII")
_HEROS: Final = re.compile(r"JOE\w+|[0-9A-F]{6}J\w+")


@attrs.frozen
class Dialogue:
    """A turn: one file, or two that follow each other."""

    speaker: str
    kind: Kind
    cut: float | None
    """Seconds from the beginning of the first file at which the turn is held up; None in a finished one."""
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """That stands for the words, which nobody here wrote down."""
        return "+".join(self.files) if self.cut is None else f"{'+'.join(self.files)} at {self.cut:.2f} s"

    def samples(self, archive: "Archive") -> Samples:
        """The turn, at 8 kHz."""
        return np.concatenate([archive.samples(file) for file in self.files])


@attrs.frozen(eq=False)
class Archive:
    """All files of the play's archive, which is read whole."""

    sound: bytes
    places: Mapping[str, tuple[int, int]]
    """By the file's name: the byte that it begins at, and its length."""

    @property
    def lines(self) -> list[str]:
        """The names of the files that are speech."""
        return sorted(name for name in self.places if name.endswith(".SB"))

    def samples(self, name: str) -> Samples:
        """What a file has, at 8 kHz. Raises KeyError for a file that is not there."""
        start, length = self.places[name]
        found, rate = soundfile.read(io.BytesIO(self.sound[start : start + length]), dtype="float64")
        return np.asarray(resample_poly(32768 * found, RATE, rate))


def read_archive(sound: bytes, said_of: object = ARCHIVE) -> Archive:
    """Its table. Raises ValueError where it is not the play's archive with MP3 in it."""
    magic, coding, count = _HEADING.unpack_from(sound)
    if (magic, coding) != (MAGIC, MP3):
        raise ValueError(f"{said_of}: expected it to begin with {MAGIC!r} and coding {MP3}, got {magic!r} and {coding}")
    end = _HEADING.size + count * _ENTRY.size
    rows = _ENTRY.iter_unpack(sound[_HEADING.size : end])
    return Archive(sound, {name.rstrip(b"\0").decode("ascii"): (start, size) for name, _, start, size in rows})


@cache
def open_archive(root: Path) -> Archive:
    """The archive below the package's root; blocking."""
    path = root / ARCHIVE
    return read_archive(path.read_bytes(), path)


def speaker_of(file: str) -> str:
    """Who speaks in a file: the hero's have his letter in the name, the scenes' are not told apart."""
    return HERO if _HEROS.match(file) else OTHERS


def dialogues(table: Path = TABLE) -> list[Dialogue]:
    """The table. Raises ValueError where its columns or a kind are not those that are expected."""
    heading, *rows = (line.split("\t") for line in table.read_text("utf-8").splitlines())
    if tuple(heading) != COLUMNS:
        raise ValueError(f"{table}: expected the columns {COLUMNS}, got {tuple(heading)}")
    return [_dialogue(*row) for row in rows]


def _dialogue(speaker: str, kind: str, cut: str, files: str) -> Dialogue:
    return Dialogue(speaker, Kind(kind), float(cut) if cut else None, tuple(files.split()))


def written(rows: Sequence[Dialogue]) -> str:
    """The table of these."""
    lines = [
        (row.speaker, row.kind.value, "" if row.cut is None else f"{row.cut:.3f}", " ".join(row.files)) for row in rows
    ]
    return "".join("\t".join(line) + "\n" for line in (COLUMNS, *lines))
