"""The lexicon of a configuration: words, and what is said for them. Pure."""

import re
from collections.abc import Mapping

LONGEST_ENTRY = 100
"""Characters of an entry's either side."""
MOST_ENTRIES = 500
_IPA = re.compile(r"/[^/\[\]\s][^/\[\]]*/")


def is_ipa(said: str) -> bool:
    """Whether it is written in the International Phonetic Alphabet: between slashes, as in /ˈwutɕ/."""
    return bool(_IPA.fullmatch(said))


def lexicon_entries(value: Mapping[str, str]) -> str | None:
    """A check of a setting: what is wrong with a lexicon."""
    if len(value) > MOST_ENTRIES:
        return f"may have {MOST_ENTRIES} entries, not {len(value)}"
    for written, said in value.items():
        if not any(map(str.isalnum, written)) or not any(map(str.isalnum, said)):
            return f"needs words on both sides of {written!r} = {said!r}"
        if max(len(written), len(said)) > LONGEST_ENTRY:
            return f"may have {LONGEST_ENTRY} characters on either side of an entry: {written[:40]!r}"
        if not (written.isprintable() and said.isprintable()) or (said.startswith("/") and not is_ipa(said)):
            return f"says {written!r} as {said!r}, which is neither words nor IPA between slashes"
    return None
