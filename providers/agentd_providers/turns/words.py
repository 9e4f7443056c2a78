"""A text's words as they are compared. Pure."""

import unicodedata


def phrases(text: str, separator: str | None = None) -> frozenset[str]:
    """The words of a list, or the phrases between its separators, each with single spaces."""
    return frozenset(" ".join(item.split()) for item in text.split(separator))


def plain_words(text: str) -> list[str]:
    """A text's words in lower case, without punctuation; hyphens part words ("uh-huh" is "uh", "huh")."""
    return "".join(map(_plain, text.lower())).split()


def _plain(letter: str) -> str:
    if letter in "'’":
        return "'"
    return letter if letter.isalnum() or unicodedata.category(letter)[0] not in "PS" else " "
