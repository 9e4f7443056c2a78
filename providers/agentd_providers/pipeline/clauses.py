"""Cutting a reply that is still being written into clauses that can be spoken. Pure."""

import re

import attrs

FIRST_MIN = 10
"""Characters that the first clause has at least: below that, its sound ends before the next is ready."""
LATER_MIN = 40
LONGEST = 180
# Each alternative wants to see what follows (or ends in a space): so a clause is the same however its text came.
_END = re.compile(
    r"""[.!?;:]+["')\]*_`]*(?=\s)|,(?=\s)|\ [–—-]\ """
    r"""|[。！？]+["')\]」』）”]*(?=[^。！？"')\]」』）”])"""  # written without spaces between sentences
)
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:Mr|Mrs|Ms|Dr|Prof|St|vs|e\.g|i\.e|[A-HJ-Z])\.$")
_MARKUP = re.compile(r"[*_`#~|<>\[\]{}]+")
_SPACE = re.compile(r"\s+")


@attrs.define
class ClauseCutter:
    """Feed it text as it comes; it gives clauses as soon as they are complete.

    The first clause may end at any punctuation, so that speaking starts early; later ones are longer, because
    each is synthesised on its own and prosody lives within a clause.
    """

    _text: str = attrs.field(default="", init=False)
    _first: bool = attrs.field(default=True, init=False)

    def feed(self, delta: str) -> list[str]:
        """Take the next piece of text; gives the clauses that are complete now."""
        self._text += delta
        clauses = []
        while (end := self._cut()) is not None:
            clause, self._text = self._text[:end], self._text[end:]
            if spoken := speakable(clause):
                clauses.append(spoken)
                self._first = False
        return clauses

    def flush(self) -> list[str]:
        """The rest, at the end of the reply."""
        rest, self._text, self._first = speakable(self._text), "", True
        return [rest] if rest else []

    def _cut(self) -> int | None:
        least = FIRST_MIN if self._first else LATER_MIN
        for match in _END.finditer(self._text):
            end = match.end()
            if end > LONGEST:
                break
            sentence = match.group().strip()[:1] in ".!?。！？"
            if end >= (FIRST_MIN if sentence else least) and not _ABBREVIATION.search(self._text, 0, end):
                return end
        if len(self._text) > LONGEST:
            return self._text.rfind(" ", 0, LONGEST) + 1 or LONGEST
        return None


def speakable(text: str) -> str:
    """Text without the markup that models write and voices would read aloud; empty if nothing can be said."""
    plain = _SPACE.sub(" ", _MARKUP.sub("", text)).strip()
    return plain if any(character.isalnum() for character in plain) else ""
