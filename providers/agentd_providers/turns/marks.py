"""What the marks tell that a transcriber sets: it has heard the melody, and read what came before. Pure.

A full stop tells nothing, for most set one at the end of whatever they are given. A comma at the end is set where it
sounds as if more came; a question mark where it was a question; and who has ended a sentence before has often ended
this one. Transcribers without marks tell nothing by that.
"""

import re
from typing import Final

import attrs

_COMMA: Final = re.compile(r"[,;،؛，；、]\W*$")
_QUESTION: Final = re.compile(r"[?？؟]\W*$")
_SENTENCE_BEFORE: Final = re.compile(r"[.!?؟]\s+(?=\w)|[。！？](?=\w)")


@attrs.frozen
class Marks:
    """Of the words of a turn so far."""

    comma: bool = False
    """The last of them is a comma, or a semicolon."""
    question: bool = False
    """The last of them is a question mark."""
    sentence_before: bool = False
    """A sentence ended before the last words."""


NO_MARKS: Final = Marks()


def marks_of(words: str) -> Marks:
    """The marks in a transcript, as the transcriber gave it."""
    return Marks(
        comma=bool(_COMMA.search(words)),
        question=bool(_QUESTION.search(words)),
        sentence_before=bool(_SENTENCE_BEFORE.search(words)),
    )
