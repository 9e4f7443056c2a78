"""How complete the words of a turn look by how they end, and by what was asked for. Pure.

What is known of a language lies beside this module as TOML (agentd_providers.turns.languages): which words end no
sentence, which answers are whole, how many digits a telephone number has.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto

import attrs

NEUTRAL = 0.5
"""The words' judgement where they say nothing."""
BROKEN_OFF, HALF_SAID, MAY_GO_ON, SAID, WHOLE = 0.05, 0.15, 0.35, 0.7, 0.97
WHOLE_NUMBER = 7
"""Digits from which on a number may be complete where none was asked for: a telephone number without its area code."""
_LONGEST_END = 4


class Due(Enum):
    """How much has come of the digits that were asked for."""

    MISSING = auto()
    """Some have come, and more are due."""
    ENOUGH = auto()
    """It may be all."""
    ALL = auto()
    """No more can be due."""


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
    """Words that often are a whole turn."""
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

    def complete(self, text: str, asked: Digits | None = None) -> float:
        """How complete a turn looks, 0 to 1; `NEUTRAL` where nothing can be said. `asked` is the number it was asked
        for, if any. Punctuation is not read: speech engines put a full stop after anything."""
        words = _spoken(text)
        if not words or not self.never_last:
            return NEUTRAL
        last, line = words[-1], " ".join(words)
        if line in self.whole:
            return WHOLE
        if (due := self.due(text, asked)) is not None:
            return {Due.MISSING: BROKEN_OFF, Due.ENOUGH: 0.6, Due.ALL: WHOLE}[due]
        if self._is_whole(words, line):
            return SAID
        if last in self.fillers:
            return 0.03
        if last in self.never_last or _any(self.broken_off, line):
            return BROKEN_OFF
        if (digits := self._digits_at_the_end(words)) > 1:
            return 0.2 if digits < WHOLE_NUMBER else 0.6
        if last in self.rarely_last and len(words) > 1:
            return NEUTRAL if self.question is not None and self.question.search(line) else HALF_SAID
        if last in self.pointing and len(words) > 1:
            return MAY_GO_ON
        return NEUTRAL if last in self.open_ended else SAID

    def due(self, text: str, asked: Digits | None) -> Due | None:
        """How much of a number that was `asked` for has come; None where none was, or the turn ends in no digit."""
        count = self._digits_at_the_end(_spoken(text))
        if asked is None or not count:
            return None
        if count < asked.least:
            return Due.MISSING
        return Due.ALL if count >= asked.most else Due.ENOUGH

    def asks_for(self, text: str) -> Digits | None:
        """The number that an agent who has said `text` expects; None: no number, or nobody knows of how many digits."""
        line = text.lower()
        if self.counted is not None and (found := self.counted.search(line)) is not None:
            count = found["count"]
            digits = int(count) if count.isdecimal() and len(count) < 3 else self.counts.get(count, 0)
            if digits:
                return Digits(digits, digits)
        return next((asking.digits for asking in self.asking if asking.asked.search(line)), None)

    def _is_whole(self, words: Sequence[str], line: str) -> bool:
        ends = (" ".join(words[-size:]) for size in range(2, _LONGEST_END + 1))
        return _any(self.clauses, line) or any(end in self.whole_ends for end in ends)

    def _digits_at_the_end(self, words: Sequence[str]) -> int:
        count = 0
        for word in reversed(words):
            if not (word in self.digits or re.fullmatch(r"\d[\d-]*", word)):
                break
            count += max(1, sum(letter.isdigit() for letter in word))
        return count


UNKNOWN = WordEnds()
"""Of a language without a table: its words say nothing."""


def _spoken(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower().replace("’", "'"))


def _any(patterns: Sequence[re.Pattern[str]], line: str) -> bool:
    return any(pattern.search(line) for pattern in patterns)
