"""A rule of text normalisation: what it finds, and what is said for it; and what rules share. Pure."""

import re
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal

import attrs

from agentd_providers.text_normalisation.language import Language, Noun

Say = Callable[[re.Match[str]], str | None]
"""What is said for what was found; None: it is none of the kind after all."""

MOST_DIGITS = 15
"""Of a number that is said as one: a longer one is said digit by digit."""


@attrs.frozen
class Rule:
    """`numeric`: what it finds has a number in it, and is left to a voice that reads numbers well."""

    pattern: re.Pattern[str]
    say: Say
    numeric: bool = False


def one_of(words: Iterable[str]) -> str:
    """A pattern of any of these words, the longest first."""
    return "|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word))))


def ends_text(found: re.Match[str]) -> bool:
    """Whether nothing follows but what closes a sentence."""
    return not found.string[found.end() :].strip(" \"')]}”’»")


def word_before(found: re.Match[str], words: Collection[str]) -> bool:
    """Whether one of these words stands right before what was found."""
    before = found.string[: found.start()].rstrip(" (\"'“‘:").rpartition(" ")[2]
    return before.strip("(\"'“‘,").lower() in words


@attrs.frozen
class Reading:
    """How one language reads numbers: `number` is a pattern of one as it is written there."""

    language: Language
    number: str
    _whole: re.Pattern[str] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_whole", re.compile(self.number))

    @classmethod
    def of(cls, language: Language) -> "Reading":
        numbers = language.table.numbers
        group, decimal = (
            f"[{re.escape(marks)}]" if marks else r"(?!)" for marks in (numbers.grouping, numbers.decimal)
        )
        return cls(language, rf"(?:\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:{decimal}\d+(?!\d))?")

    def parts(self, written: str) -> tuple[int, str]:
        """A written number as its whole part, and the digits behind the decimal point."""
        numbers = self.language.table.numbers
        whole, fraction = written, ""
        for mark in numbers.decimal:
            whole, _, fraction = written.rpartition(mark) if mark in written else (written, "", "")
            if fraction:
                break
        return int("".join(filter(str.isdigit, whole)) or "0"), fraction

    def said(self, written: str, noun: Noun | None = None) -> str:
        """A number in words, with what it counts. Digits where nobody has words for it."""
        words = self.language.words
        whole, fraction = self.parts(written)
        gender = noun.gender if noun is not None else ""
        if words is None or len(str(whole)) > MOST_DIGITS:
            said, category = written, "other"
        else:
            said = words.cardinal(whole, "" if fraction else gender)
            if whole == 1 and not fraction and not gender:
                said = self.language.table.numbers.one or said
            if fraction:
                said = f"{said} {self.language.table.numbers.point} {self.digits(fraction)}"
            category = words.plural(Decimal(f"{whole}.{fraction}" if fraction else whole))
        return f"{said} {noun.form(category)}" if noun is not None else said

    def digits(self, digits: str) -> str:
        """A number digit by digit."""
        words = self.language.words
        if words is None:
            return " ".join(digits)
        one = self.language.table.numbers.one or words.cardinal(1)
        said = (one if digit == "1" else words.cardinal(int(digit)) for digit in digits if digit.isdigit())
        return " ".join(said)
