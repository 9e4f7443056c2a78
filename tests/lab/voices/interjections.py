"""What actors of a play say that comes over an agent's words: backchannels, commands, and beginnings of real turns.

`interjections.tsv` has which files of `dialogues.py`'s archive these are, and of a lone interjection ("yeah", "hang
on") what a transcriber hears in it (Moonshine; twice, the second time said more slowly, and the same). Of a sentence it
has no words: only that its first words are none that are said while listening. It was written by
`python -m tests.lab.voices.find_interjections`; nobody has listened, so some labels are wrong.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

TABLE: Final = Path(__file__).with_name("interjections.tsv")
COLUMNS: Final = ("speaker", "kind", "file", "words")


@attrs.frozen
class Interjection:
    """A file."""

    speaker: str
    kind: str
    """As tests.lab.first_sounds.Kind has it."""
    file: str
    words: str
    """Of a backchannel or a command; of a sentence none."""


def interjections(table: Path = TABLE) -> list[Interjection]:
    """The table. Raises ValueError where its columns are not those that are expected."""
    heading, *rows = (line.split("\t") for line in table.read_text("utf-8").splitlines())
    if tuple(heading) != COLUMNS:
        raise ValueError(f"{table}: expected the columns {COLUMNS}, got {tuple(heading)}")
    return [Interjection(*row) for row in rows]


def written(rows: Sequence[Interjection]) -> str:
    """The table of these."""
    lines = [COLUMNS, *((row.speaker, row.kind, row.file, row.words) for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)
