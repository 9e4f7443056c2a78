"""How complete the words of a turn look by how they end, and by what was asked for. Pure.

What is known of a language lies beside this module as TOML, in `languages/` (turns.word_tables reads it): which words
end no sentence, which answers are whole, how many digits a telephone number has.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from itertools import takewhile

import attrs

NEUTRAL = 0.5
"""The words' judgement where they say nothing."""
BROKEN_OFF, HALF_SAID, MAY_GO_ON, SAID, WHOLE = 0.05, 0.15, 0.35, 0.7, 0.97
WHOLE_NUMBER = 7
"""Digits from which on a number may be complete where none was asked for: a telephone number without its area code."""
_LONGEST_END = 4
_WITH_MAIN_CLAUSE = 9
"""Words from which on a sentence that begins with a subordinate clause may be whole."""
_LETTERS = re.compile(r"[^\W\d_](?:-[^\W\d_])*")
_DIGITS = re.compile(r"(?=.*\d)[\d-]+|(?=.*\d)[^\W\d_]{0,2}\d[\d-]*[^\W\d_]{0,2}")
"""A number, or one with a letter or two: the transcriber writes "NW35RT" for what was spelled."""


class Told(Enum):
    """What the words tell more surely than by how they end."""

    MISSING = auto()
    """Digits of a number that was asked for are still due."""
    SPELLED = auto()
    """Letters or digits one by one: whether more come no model of a language can know."""
    WHOLE = auto()
    """All that was asked for, or what often is a whole turn: "no, thank you"."""


@attrs.frozen
class Digits:
    """A number that was asked for has so many digits."""

    least: int
    most: int


@attrs.frozen
class Asking:
    """Words (`asked`, a regular expression) by which a number of so many digits is asked for."""

    asked: re.Pattern[str]
    digits: Digits


@attrs.frozen
class WordEnds:
    """What the words at the end of a turn say in one language. Words are in lower case, without punctuation."""

    fillers: frozenset[str] = frozenset()
    never_last: frozenset[str] = frozenset()
    rarely_last: frozenset[str] = frozenset()
    """They end a turn now and then; a `question` often."""
    pointing: frozenset[str] = frozenset()
    """"this": a whole object, or the beginning of one."""
    open_ended: frozenset[str] = frozenset()
    """"please": it ends a request as often as it stands within one."""
    whole_ends: frozenset[str] = frozenset()
    """Ends of at most four words which the sets above would take for unfinished."""
    whole: frozenset[str] = frozenset()
    """Words that often are a whole turn, as are several of them in a row."""
    openings: Sequence[re.Pattern[str]] = ()
    """Beginnings of a subordinate clause: the sentence goes on after it."""
    digits: frozenset[str] = frozenset()
    """Words for digits, as one says a number digit by digit."""
    question: re.Pattern[str] | None = None
    broken_off: Sequence[re.Pattern[str]] = ()
    clauses: Sequence[re.Pattern[str]] = ()
    """Whole ones that end in a word of the sets above."""
    asking: Sequence[Asking] = ()
    counted: re.Pattern[str] | None = None
    """How a number of so many digits is asked for, its group `count` being how many."""
    counts: Mapping[str, int] = attrs.field(factory=dict)

    def complete(self, text: str, number: Digits | None = None) -> float:
        """How complete a turn looks, 0 to 1; `NEUTRAL` where nothing can be said. `number` is that which was asked
        for, if any. Punctuation is not read: speech engines put a full stop after anything."""
        words = _spoken(text)
        if not words or self is UNKNOWN:
            return NEUTRAL
        last, line = words[-1], " ".join(words)
        told = self.told(text, number)
        if told in (Told.WHOLE, Told.MISSING):
            return WHOLE if told is Told.WHOLE else BROKEN_OFF
        if self._ends_whole(words, line):
            return SAID
        if last in self.fillers:
            return 0.03
        if last in self.never_last or _any(self.broken_off, line):
            return BROKEN_OFF
        if told is Told.SPELLED:
            least = WHOLE_NUMBER if number is None else number.least
            return 0.2 if self._digits_at_the_end(words) < least else 0.6
        if last in self.rarely_last and len(words) > 1:
            return NEUTRAL if self.question is not None and self.question.search(line) else HALF_SAID
        if last in self.pointing and len(words) > 1:
            return MAY_GO_ON
        if len(words) < _WITH_MAIN_CLAUSE and _any(self.openings, line):
            return MAY_GO_ON
        return NEUTRAL if last in self.open_ended else SAID

    def told(self, text: str, number: Digits | None = None) -> Told | None:
        """What the words of a turn tell surely, if anything."""
        words = _spoken(text)
        if self._is_whole(words):
            return Told.WHOLE
        if number is not None and (digits := self._digits_at_the_end(words)):
            if digits < number.least:
                return Told.MISSING
            return Told.WHOLE if digits >= number.most else Told.SPELLED
        return Told.SPELLED if sum(map(self._signs, self._signs_at_the_end(words))) > 1 else None

    def asks_for(self, text: str) -> Digits | None:
        """The number that an agent who has said `text` expects; None: no number, or nobody knows of how many digits."""
        line = text.lower()
        if self.counted is not None and (found := self.counted.search(line)) is not None:
            count = found["count"]
            digits = int(count) if count.isdecimal() and len(count) < 3 else self.counts.get(count, 0)
            if digits:
                return Digits(digits, digits)
        return next((asking.digits for asking in self.asking if asking.asked.search(line)), None)

    def _is_whole(self, words: Sequence[str]) -> bool:
        """Whether they can be parted into phrases that are whole."""
        parted = {0}
        for end in range(1, len(words) + 1):
            parted |= {end for begin in parted if " ".join(words[begin:end]) in self.whole}
        return len(words) in parted - {0}

    def _ends_whole(self, words: Sequence[str], line: str) -> bool:
        ends = (" ".join(words[-size:]) for size in range(2, _LONGEST_END + 1))
        return _any(self.clauses, line) or any(end in self.whole_ends for end in ends)

    def _signs_at_the_end(self, words: Sequence[str]) -> list[str]:
        """The words at the end that are digits, or letters one by one."""
        return list(takewhile(self._signs, reversed(words)))

    def _signs(self, word: str) -> int:
        """How many digits or letters a word is that stands for such."""
        if word in self.digits:
            return 1
        if _LETTERS.fullmatch(word):
            return len(word.replace("-", ""))
        return sum(letter.isdigit() for letter in word) if _DIGITS.fullmatch(word) else 0

    def _digits_at_the_end(self, words: Sequence[str]) -> int:
        signs = takewhile(lambda word: not _LETTERS.fullmatch(word), self._signs_at_the_end(words))
        return sum(map(self._signs, signs))


UNKNOWN = WordEnds()
"""Of a language without a table: its words say nothing."""


def _spoken(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower().replace("’", "'"))


def _any(patterns: Sequence[re.Pattern[str]], line: str) -> bool:
    return any(pattern.search(line) for pattern in patterns)
