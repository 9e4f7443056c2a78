"""What the voices say: finished turns, sentences that are held up, and whole sentences that go on. Pure.

`texts.tsv` has one a line, written for this purpose. Where the speaker stops is a `|`; a `~` before it has the last
syllable drawn out. A text's part of the split is by its words (tests.lab.voices.split).
"""

from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs

from .split import Part, part_of_text

TABLE: Final = Path(__file__).with_name("texts.tsv")
PAUSE, DRAWL = "|", "~"
HELD = "held "


class Kind(StrEnum):
    """What becomes of a turn."""

    FINISHED = "finished"
    HESITATION = "hesitation"
    """The speaker stops where the words are no whole sentence, and goes on."""
    GOES_ON = "goes on"
    """The words before the pause are whole. Who answers there is not wrong, and no listener can know better."""


@attrs.frozen
class Text:
    """A line of the table."""

    kind: Kind
    manner: str
    """Of a finished turn what it is (a question, a list); of a hesitation how the speaker stops."""
    before: str
    """The words until the pause; in a finished turn all."""
    after: str
    drawn_out: bool

    @property
    def words(self) -> str:
        return f"{self.before} {self.after}".strip()

    @property
    def part(self) -> Part:
        return part_of_text(self.words)


def texts(table: Path = TABLE) -> list[Text]:
    """All that there are. Raises ValueError for a line that is none: its pauses do not fit its kind."""
    heading, *lines = table.read_text("utf-8").splitlines()
    if heading != "kind\ttext":
        raise ValueError(f"{table}: expected the columns kind and text, got {heading!r}")
    return [_text(table, *line.split("\t")) for line in lines]


def _text(table: Path, kind: str, marked: str) -> Text:
    before, *after = (piece.strip() for piece in marked.split(PAUSE))
    expected = 1 if kind == Kind.GOES_ON or kind.startswith(HELD) else 0
    if len(after) != expected:
        raise ValueError(f"{table}: expected {expected} pauses in a text of the kind {kind!r}, got {marked!r}")
    if not expected:
        return Text(Kind.FINISHED, kind, before, "", drawn_out=False)
    drawn_out = before.endswith(DRAWL)
    manner = kind.removeprefix(HELD)
    found = Kind.GOES_ON if kind == Kind.GOES_ON else Kind.HESITATION
    return Text(found, manner, before.removesuffix(DRAWL).strip(), after[0], drawn_out)
