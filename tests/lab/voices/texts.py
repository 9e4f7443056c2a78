"""What the voices say: finished turns, sentences that are held up, and whole sentences that go on. Pure.

`texts.tsv` has one a line, written for this purpose. Where the speaker stops is a `|`; a `~` before it has the last
syllable drawn out. A text's part of the split is by its words (tests.lab.voices.split). `more_texts.tsv` is of the same
form, and all of it is there to be fitted to.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs

from .split import Part, part_of_text

TABLE: Final = Path(__file__).with_name("texts.tsv")
MORE: Final = Path(__file__).with_name("more_texts.tsv")
PAUSE, DRAWL = "|", "~"
HELD = "held "
_NEVER_LAST: Final = re.compile(r"\b(?:a|an|the|my|our|your|to|of|for|with|at|from|and|or|if|is|was|very|we)\b (?=\w)")
"""Words that no sentence of these ends with."""


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
    part: Part

    @property
    def marked(self) -> str:
        """With the pause in it: a sentence may be held up in one place, and in another."""
        return f"{self.before} {PAUSE} {self.after}" if self.after else self.before

    @property
    def words(self) -> str:
        return f"{self.before} {self.after}".strip()


def texts(table: Path = TABLE, part: Part | None = None) -> list[Text]:
    """All that there are, each of the part that its words decide, or of `part`. Raises ValueError for a line that is
    none: its pauses do not fit its kind."""
    heading, *lines = table.read_text("utf-8").splitlines()
    if heading != "kind\ttext":
        raise ValueError(f"{table}: expected the columns kind and text, got {heading!r}")
    return [_text(table, part, *line.split("\t")) for line in lines]


def texts_of(part: Part) -> list[Text]:
    """What a part's turns are made of: for weights to be fitted to there are more, and each sentence that has the room
    is held up as well behind the words that nobody ends with."""
    found = [text for text in texts() if text.part is part]
    if part is not Part.FIT:
        return found
    found += texts(MORE, part)
    broken_off = [held for text in found if text.kind is Kind.FINISHED for held in held_up(text)]
    return list({text.marked: text for text in [*broken_off, *found]}.values())


def held_up(text: Text) -> list[Text]:
    """A finished turn broken off at each place where it cannot end."""
    said = text.before
    return [
        Text(Kind.HESITATION, "broken off", said[: place.end()].strip(), said[place.end() :], False, text.part)
        for place in _NEVER_LAST.finditer(said)
        if place.start() > 0
    ]


def _text(table: Path, part: Part | None, kind: str, marked: str) -> Text:
    before, *after = (piece.strip() for piece in marked.split(PAUSE))
    expected = 1 if kind == Kind.GOES_ON or kind.startswith(HELD) else 0
    if len(after) != expected:
        raise ValueError(f"{table}: expected {expected} pauses in a text of the kind {kind!r}, got {marked!r}")
    if not expected:
        return Text(Kind.FINISHED, kind, before, "", drawn_out=False, part=part or part_of_text(before))
    drawn_out = before.endswith(DRAWL)
    manner = kind.removeprefix(HELD)
    found = Kind.GOES_ON if kind == Kind.GOES_ON else Kind.HESITATION
    before = before.removesuffix(DRAWL).strip()
    return Text(found, manner, before, after[0], drawn_out, part or part_of_text(f"{before} {after[0]}"))
