"""Which speakers, and which sentences, weights may be fitted to, and which are kept apart for judging them. Pure.

A digest decides, so nobody does: of the speaker's name for voices, of the words for sentences. A turn belongs to a part
if both do: what is judged in the third part is neither a voice nor a sentence that anything was fitted to. Recordings
that may be one person's are one speaker. What the product was tuned on before is `fit`, whatever its digest.
"""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import attrs

TABLE: Final = Path(__file__).with_name("speakers.tsv")
COLUMNS: Final = ("speaker", "kind", "language", "source", "part", "who")
SPEAKERS_SHA256: Final = "166fcfe0072fdba19e8f5e079588cb0487d9d3b5353d3daf9278c372d016ed6a"
"""Of `speakers.tsv`. Another table is another split: figures before and after it cannot be compared."""
KNOWN: Final = frozenset({"allison-smith", "piper joe"})
"""Voices that the product was tuned on before there was a split: Asterisk's prompts, and the embedded agent's own."""
FIT_UNTIL, CHOOSE_UNTIL = 0.4, 0.6
"""Shares of all digests: two fifths are fitted to, a fifth chooses among what was fitted, two fifths are kept apart."""


class Part(StrEnum):
    """What turns may be used for."""

    FIT = "fit"
    """Weights and constants are fitted to these."""
    CHOOSE = "choose"
    """Among what was fitted these choose; look as often as you like."""
    THIRD = "third"
    """Judges what was chosen. Each look is written down (tests.lab.voices.looks)."""


@attrs.frozen
class Speaker:
    """A voice, as the table has it."""

    name: str
    kind: Literal["human", "synthetic"]
    language: str
    """A code of ISO 639-1. The words of others than English are judged by nothing: they serve the sound cue only."""
    source: str
    """A name of `tests.lab.voices.sources`."""
    part: Part
    who: str


def part_of_speaker(name: str) -> Part:
    """By the digest of the name alone."""
    return Part.FIT if name in KNOWN else _part(f"turns by many voices: {name}")


def part_of_text(text: str) -> Part:
    """By the digest of the words, whatever marks of pauses and punctuation stand in them."""
    words = "".join(letter if letter.isalnum() or letter == "'" else " " for letter in text.lower())
    return _part("sentences of many voices: " + " ".join(words.split()))


def speakers(table: Path = TABLE) -> list[Speaker]:
    """The table. Raises ValueError where its columns are not those that are expected, or a kind or part is unknown."""
    heading, *rows = (line.split("\t") for line in table.read_text("utf-8").splitlines())
    if tuple(heading) != COLUMNS:
        raise ValueError(f"{table}: expected the columns {COLUMNS}, got {tuple(heading)}")
    return [_speaker(table, row) for row in rows]


def _speaker(table: Path, row: list[str]) -> Speaker:
    match row:
        case [name, ("human" | "synthetic") as kind, language, source, part, who]:
            return Speaker(name, kind, language, source, Part(part), who)
    raise ValueError(f"{table}: expected {len(COLUMNS)} columns, the second human or synthetic, got {row}")


def table_sha256(table: Path = TABLE) -> str:
    """What SPEAKERS_SHA256 pins."""
    return hashlib.sha256(table.read_bytes()).hexdigest()


def _part(what: str) -> Part:
    share = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8]) / 2**64
    return Part.FIT if share < FIT_UNTIL else Part.CHOOSE if share < CHOOSE_UNTIL else Part.THIRD
