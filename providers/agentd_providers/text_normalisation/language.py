"""What the rules have to know of a language, as its table in `languages/` tells it. Pure: data, and a protocol.

Every part may be missing: what a language's table does not tell is left as it is written.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

import attrs


class NumberWords(Protocol):
    """Numbers in a language's words. Raises nothing for numbers of at most 15 digits."""

    def cardinal(self, number: int, gender: str = "") -> str:
        """ "twenty-one", as it is before a noun of that gender; without one, as it is counted."""
        ...

    def ordinal(self, number: int, form: str = "") -> str:
        """ "twenty-first", in one of CLDR's forms; empty where the language has no rules for it."""
        ...

    def year(self, number: int) -> str:
        """ "nineteen twenty", where years are said like that."""
        ...

    def plural(self, number: Decimal) -> str:
        """CLDR's plural category: one, few, many, other."""
        ...


@attrs.frozen
class Noun:
    """What is counted, by CLDR's plural categories (https://cldr.unicode.org/index/cldr-spec/plural-rules)."""

    other: str
    one: str = ""
    few: str = ""
    many: str = ""
    gender: str = ""
    """As CLDR names the forms of numbers: masculine, feminine, neuter."""

    def form(self, category: str) -> str:
        return {"one": self.one, "few": self.few, "many": self.many}.get(category) or self.other


@attrs.frozen
class Currency:
    """A currency: how it is written, and what it is said as; `part` is its hundredth."""

    signs: tuple[str, ...]
    whole: Noun
    part: Noun | None = None


@attrs.frozen
class Abbreviations:
    """Abbreviations with their dots, and what they stand for. `inside`: a sentence goes on behind it. `closing`: a
    sentence may end with it. `before_number`: it is one only before a number. `dotless`: the same without a dot."""

    inside: Mapping[str, str] = attrs.field(factory=dict)
    closing: Mapping[str, str] = attrs.field(factory=dict)
    before_number: Mapping[str, str] = attrs.field(factory=dict)
    dotless: Mapping[str, str] = attrs.field(factory=dict)
    finishing: frozenset[str] = frozenset()
    """Those of the closing ones after which any capital begins a sentence."""
    starters: frozenset[str] = frozenset()
    """Words that begin a sentence: after what may end one, they tell that it did."""
    ordinal_dot: bool = False
    """A number with a dot is an ordinal: "3. Mai"."""


@attrs.frozen
class Money:
    """How an amount is said."""

    with_part: str = "{whole} {part}"
    part_alone: bool = True
    """Whether the part is named ("fifty cents"), or only its number is said ("neunundvierzig Euro fünfzig")."""
    scales: Mapping[str, str] = attrs.field(factory=dict)
    """What an amount may be multiplied by: m, bn, million."""
    scaled: str = "{number} {scale} {noun}"
    per: Mapping[str, str] = attrs.field(factory=dict)
    """What stands behind a slash: "/mo"."""


@attrs.frozen
class Times:
    """How a time of day is said. The templates take {hour}, {minute} and {half}."""

    full: str = ""
    full_late: str = ""
    """The full hour from 13 on, where it is said in another way."""
    padded: str = ""
    """Minutes below ten."""
    minutes: str = ""
    half: str = "{time} {half}"
    halves: Mapping[str, str] = attrs.field(factory=dict)
    """The halves of the day, as they are written without dots and in lower case: am, pm."""
    midnight: str = ""
    marks: str = ":"
    """What stands between hour and minute."""
    after: str = ""
    """A word that stands behind a time and is in what is said already: "Uhr"."""
    gender: str = ""
    hours: tuple[str, ...] = ()
    """The hours from 0 on, where they are no cardinals."""
    hours_after: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """The same behind certain words, by those words with a | between them."""
    one: str = ""
    """The full hour of one o'clock, where it is another."""


class DayForm(StrEnum):
    ORDINAL = "ordinal"
    CARDINAL = "cardinal"


@attrs.frozen
class Dates:
    """How a date is said. `order`: of a date in numbers (dmy, mdy); one that begins with a year is ymd everywhere."""

    months: tuple[str, ...] = ()
    short_months: Mapping[str, int] = attrs.field(factory=dict)
    order: str = "dmy"
    day_month: str = "{day} {month}"
    with_year: str = "{day} {month} {year}"
    day_first: str = ""
    """The same where the day is written first, as an ordinal; empty: no other way."""
    day: DayForm = DayForm.CARDINAL
    days: tuple[str, ...] = ()
    """The days of a month from 1 on, where CLDR has no words for them."""
    day_form: str = ""
    """CLDR's form of the day's ordinal."""
    day_forms: Mapping[str, str] = attrs.field(factory=dict)
    """Other forms, by the word before the date, with a | between such words."""
    first: str = ""
    """The first of a month, where it is no number like the others."""
    of: str = ""
    """A word between day and month, and month and year, where it is written too ("de")."""
    short: bool = False
    """Whether "11/30" is a date."""
    before_date: tuple[str, ...] = ()
    """Words after which "3/4" is a date and no fraction."""


@attrs.frozen
class Numbers:
    """How numbers are written and said."""

    decimal: str = ""
    grouping: str = ""
    point: str = ""
    minus: str = ""
    one: str = ""
    """A one that is counted, where CLDR writes it like the article."""
    to: str = ""
    percent: str = ""
    years: bool = False
    """Whether a lone number such as 1920 is said as a year."""
    year_words: tuple[str, ...] = ()
    """Words after which it is a year, whatever follows."""
    decade: tuple[tuple[str, str], ...] = ()
    """How the last word of a decade is made of a year's: (ending, its replacement), the first that fits."""
    counted: str = ""
    """A regular expression of words that are counted: a number before one is a quantity, not a code nor a year."""
    ordinals: Mapping[str, str] = attrs.field(factory=dict)
    """CLDR's form of an ordinal, by what is written behind the digits."""
    fractions: Mapping[str, str] = attrs.field(factory=dict)
    """Fractions that have names of their own, such as 1/2."""
    fraction: str = ""
    """How others are said, of {number}, {part} (the ordinal); empty: as they are written."""
    parts: str = ""
    """What makes the ordinal of a fraction a plural."""
    and_fraction: str = ""
    """Between a whole number and a fraction."""
    out_of: str = ""
    times: str = ""
    times_suffix: str = ""
    """Of "3x"."""
    ratio: str = ""


@attrs.frozen
class Codes:
    """How what is no quantity is said."""

    groups: bool = False
    """Whether codes and telephone numbers are said digit by digit in this language's words."""
    words: tuple[str, ...] = ()
    """Words (regular expressions) after which a number is a code."""
    digits: int = 5
    """A number of that many digits that is written without grouping is a code."""
    letters: Mapping[str, str] = attrs.field(factory=dict)
    """Letters that voices misread alone, and what is said for them where others follow."""
    dot: str = ""
    at: str = ""
    underscore: str = ""
    hyphen: str = ""
    slash: str = ""
    plus: str = ""
    colon: str = ""
    extension: Mapping[str, str] = attrs.field(factory=dict)
    extension_word: str = ""


@attrs.frozen
class Romans:
    """Where Roman numerals are sure: behind certain words as numbers, behind certain names as ordinals."""

    cardinal_after: tuple[str, ...] = ()
    ordinal_after: tuple[str, ...] = ()
    ordinal: str = "{ordinal}"


@attrs.frozen
class Symbols:
    """What is said for symbols that carry meaning."""

    alone: Mapping[str, str] = attrs.field(factory=dict)
    """Where one stands for itself: the keys # and * first."""
    before_number: Mapping[str, str] = attrs.field(factory=dict)
    between_numbers: Mapping[str, str] = attrs.field(factory=dict)
    after_number: Mapping[str, str] = attrs.field(factory=dict)
    after_letter: Mapping[str, str] = attrs.field(factory=dict)
    words: Mapping[str, str] = attrs.field(factory=dict)
    """Whole words that are written in short: "w/"."""
    either: str = ""
    """Said for the slash between two words: "he/she"."""


@attrs.frozen
class LanguageTable:
    """One language's table."""

    tlds: frozenset[str] = frozenset()
    abbreviations: Abbreviations = attrs.field(factory=Abbreviations)
    numbers: Numbers = attrs.field(factory=Numbers)
    money: Money = attrs.field(factory=Money)
    currencies: Mapping[str, Currency] = attrs.field(factory=dict)
    times: Times = attrs.field(factory=Times)
    dates: Dates = attrs.field(factory=Dates)
    units: Mapping[str, Noun] = attrs.field(factory=dict)
    codes: Codes = attrs.field(factory=Codes)
    romans: Romans = attrs.field(factory=Romans)
    symbols: Symbols = attrs.field(factory=Symbols)
    openers: frozenset[str] = frozenset()
    """Words that begin a clause: a text without marks is best cut before one."""


@attrs.frozen
class Language:
    """A language: its table, and its numbers in words (None where nobody has rules for them)."""

    tag: str = "und"
    table: LanguageTable = attrs.field(factory=LanguageTable, repr=False)
    words: NumberWords | None = None
