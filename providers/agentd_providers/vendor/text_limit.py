"""Cutting a text that is longer than a vendor takes at once. Pure."""

import re

_ENDS = (re.compile(r"[.!?;:。！？](?=\s)|[。！？]"), re.compile(r"[,，、](?=\s)|[，、]"), re.compile(r"\s"))
"""Where to cut, the best first; each is the last character of what stands before the cut."""


def pieces_of(text: str, limit: int) -> list[str]:
    """The text in pieces of 1 to `limit` characters, without the white space around them: cut at the end of a sentence,
    else at a comma, else between words, else anywhere. Text without anything to speak gives none."""
    pieces = []
    text = text.strip()
    while text:
        cut = len(text) if len(text) <= limit else _cut(text, limit)
        pieces.append(text[:cut].strip())
        text = text[cut:].strip()
    return [piece for piece in pieces if any(map(str.isalnum, piece))]


def _cut(text: str, limit: int) -> int:
    for end in _ENDS:
        cuts = [match.end() for match in end.finditer(text, 0, limit + 1) if match.end() <= limit]
        if cuts:
            return cuts[-1]
    return limit
