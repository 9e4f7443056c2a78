"""Cutting a reply that is still being written into clauses that can be spoken. Pure.

A clause ends where the language ends one: at the marks of its script, at what a written answer is structured by (lines,
items, headings), and not at the dot of an abbreviation or an initial. A text without any marks is cut at a word's edge;
soon, where nothing has been said yet.
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum

import attrs

from agentd_providers.text_normalisation.language import Language
from agentd_providers.text_normalisation.markdown import BREAK, MarkdownReader

FIRST_MIN = 10
"""Characters that the first clause has at least: below that, its sound ends before the next is ready."""
LATER_MIN = 40
FIRST_LONGEST = 90
"""Characters after which the first clause is cut between words, where no mark comes."""
LONGEST = 180
BREATH = 3
"""What a character counts for that is a word or a syllable by itself, as Chinese and Japanese ones are."""
MEANINGFUL = frozenset("#*&%+=@$€£¥°½¼¾")
"""Symbols that are said, also where they stand alone."""
_WORD_AHEAD = 30
"""Characters that are waited for, where the word after a dot tells whether a sentence ended."""
_CLOSERS = r"""["')\]”’»›*_`]*"""
_MARKS = "।॥؟۔։።፧፨។៕။༎"
# Each alternative wants to see what follows (or ends in a space): so a clause is the same however its text came.
_END = re.compile(
    rf"""(?P<line>{BREAK})"""
    rf"""|(?P<stop>[.!?…\u037e]+{_CLOSERS})(?=\s)"""
    rf"""|(?P<mark>[;:]+{_CLOSERS})(?=\s)|(?P<comma>,["'”’]*)(?=\s)|(?P<dash>\s[–—-]{{1,3}}\s|(?<=\w)—)(?=\S)"""
    # Devanagari and its sisters, Arabic and Urdu, Armenian, Ethiopic, Khmer, Burmese, Tibetan
    rf"""|(?P<other>[{_MARKS}]+{_CLOSERS})(?=[^{_MARKS}"')\]”’»›*_`])"""
    r"""|(?P<other_comma>[،؛՝፣፤၊]["'”’]*)(?=\s)"""
    r"""|(?P<cjk>[。！？｡]+["')\]」』）”’]*)(?=[^。！？"')\]」』）”’])"""  # written without spaces between sentences
    r"""|(?P<cjk_comma>[，、；：]["')\]」』）”’]*)(?=[^，、；："')\]」』）”’])"""
)
_SENTENCE = frozenset({"line", "stop", "other", "cjk"})
_LAST_WORD = re.compile(r"(?:^|[\s(\[\"'“‘«])(?P<word>[^\s(\[\"'“‘«]+)$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
_ITEM = re.compile(rf"(?:^|{BREAK})\s*\d{{1,3}}[.)]$")
_AHEAD = re.compile(r"[\s\"'“‘«(\[]*(?P<word>[^\W\d_][\w'’]*)?")
_SPACE = re.compile(r"\s+")
_LEADING_VOWELS = frozenset("เแโใไເແໂໃໄ")
"""Of Thai and Lao: they are written before the consonant that they follow."""


class _Ends(Enum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """More of the text has to come."""


@attrs.define
class ClauseCutter:
    """Feed it text as it comes, with its markup; it gives clauses as soon as they are complete, without.

    The first clause may end at any punctuation, so that speaking starts early; later ones are longer, because
    each is synthesised on its own and prosody lives within a clause.
    """

    language: Language = attrs.field(factory=Language)
    _reader: MarkdownReader = attrs.field(factory=MarkdownReader, init=False)
    _text: str = attrs.field(default="", init=False)
    _first: bool = attrs.field(default=True, init=False)
    _capitals: bool | None = attrs.field(default=None, init=False)
    """Whether the reply begins its sentences with capitals; None before its first letter."""

    def feed(self, delta: str) -> list[str]:
        """Take the next piece of text; gives the clauses that are complete now."""
        self._take(self._reader.feed(delta))
        return list(self._clauses(final=False))

    def flush(self) -> list[str]:
        """The rest, at the end of the reply."""
        self._take(self._reader.flush())
        clauses = list(self._clauses(final=True))
        if rest := _tidy(self._text):
            clauses.append(rest)
        self._text, self._first, self._capitals = "", True, None
        return clauses

    def _take(self, text: str) -> None:
        self._text += text
        if self._capitals is None and (letter := next(filter(str.isalpha, text), "")):
            self._capitals = not letter.islower()

    def _clauses(self, *, final: bool) -> Iterator[str]:
        while (end := self._cut(final=final)) is not None:
            clause, self._text = self._text[:end], self._text[end:]
            if spoken := _tidy(clause):
                self._first = False
                yield spoken

    def _cut(self, *, final: bool) -> int | None:
        text = self._text
        least = FIRST_MIN if self._first else LATER_MIN
        longest = _reach(text, FIRST_LONGEST if self._first else LONGEST)
        limit = longest if longest is not None else len(text)
        for match in _END.finditer(text):
            end = match.end()
            if end > limit:
                break
            kind = match.lastgroup or ""
            ends = self._ends(match, final=final)
            if ends is _Ends.UNKNOWN:
                return None
            enough = end >= FIRST_MIN and (kind in _SENTENCE or _measure(text, end) >= least)
            if ends is _Ends.YES and enough:
                return end
        if longest is None or len(text) <= longest:
            return None
        if (cut := self._between_words(longest)) is not None:
            return cut
        if self._first and (far := _reach(text, LONGEST)) is not None:
            return text.rfind(" ", 0, far) + 1 or far
        return None

    def _ends(self, match: re.Match[str], *, final: bool) -> _Ends:
        """Whether a clause may end at a mark."""
        text, end = self._text, match.end()
        following = _AHEAD.match(text, end)
        assert following is not None
        after = text[following.start("word") if following["word"] else following.end() :][:1]
        if match["comma"] or match["dash"]:
            if not after and not final:
                return _Ends.UNKNOWN
            return _Ends.NO if after.isdigit() else _Ends.YES  # "December 1, 2026", "10 - 12"
        stop = match["stop"]
        if stop is None or "!" in stop or "?" in stop or "\u037e" in stop:
            return _Ends.YES
        if text[end : end + 1] == BREAK:
            return _Ends.NO if _ITEM.search(text, 0, end) else _Ends.YES
        if not after and not final:
            return _Ends.UNKNOWN
        if after.islower() and self._capitals:
            return _Ends.NO
        return self._dot(end - len(stop) + 1, following, after, final=final) if stop[0] == "." else _Ends.YES

    def _dot(self, end: int, following: re.Match[str], after: str, *, final: bool) -> _Ends:
        """Whether a sentence ends with a dot, where no word in lower case follows it."""
        known = self.language.table.abbreviations
        if _ITEM.search(self._text, 0, end):
            return _Ends.NO
        found = _LAST_WORD.search(self._text, 0, end)
        word = found["word"] if found else ""
        if word in known.inside or word.lower() in known.inside:
            return _Ends.NO
        if after.isdigit() and (word in known.before_number or word in known.closing or _INITIALS.fullmatch(word)):
            return _Ends.NO
        if word in known.finishing or (end < len(self._text) and not self._text[end].isspace()):
            return _Ends.YES
        may_go_on = word in known.closing or (_INITIALS.fullmatch(word) and word != "I.")
        if not may_go_on and not (known.ordinal_dot and word[:-1].isdigit()):
            return _Ends.YES
        ahead = following["word"] or ""
        if following.end() == len(self._text) and not final and len(ahead) < _WORD_AHEAD:
            return _Ends.UNKNOWN
        return _Ends.YES if not ahead or ahead in known.starters else _Ends.NO

    def _between_words(self, longest: int) -> int | None:
        """Where a text without marks is cut: before a word that begins a clause, else between words, and in a script
        without spaces between two of its letters. None where a word is not over yet."""
        text = self._text
        spaces = [found.end() for found in _SPACE.finditer(text, 0, longest + 1) if found.start() >= FIRST_MIN]
        spaces = [end for end in spaces if end <= longest]
        least = longest // 2
        openers = self.language.table.openers
        opening = [
            end for end in spaces if end >= least and (word := _AHEAD.match(text, end)) and word["word"] in openers
        ]
        if opening:
            return opening[-1]
        if spaces and (spaces[-1] >= least or not _spaceless(text[longest - 1])):
            return spaces[-1]
        if _spaceless(text[longest - 1]) or not self._first:
            return next(cut for cut in range(longest, 0, -1) if cut == 1 or _is_edge(text, cut))
        return None


def in_one_clause(text: str) -> str:
    """All of a short text as one clause, without its markup; empty if nothing of it can be said."""
    reader = MarkdownReader()
    return _tidy(reader.feed(text) + reader.flush())


def _tidy(text: str) -> str:
    """A clause as it stands in the history: lines that are no sentences are separated by commas; empty if nothing of it
    can be said."""
    lines = [stripped for line in text.split(BREAK) if (stripped := _SPACE.sub(" ", line).strip())]
    if not any(character.isalnum() or character in MEANINGFUL for line in lines for character in line):
        return ""
    joined = ""
    for line in lines:
        if joined:
            joined += " " if unicodedata.category(joined[-1])[0] == "P" and joined[-1] not in ")\"'*#%" else ", "
        joined += line
    return joined


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _measure(text: str, end: int) -> int:
    """How long it is to speak, in letters."""
    return end + (BREATH - 1) * sum(map(_wide, text[:end]))


def _reach(text: str, letters: int) -> int | None:
    """The end of what is at most so long to speak; None where the text is not longer."""
    room = letters
    for index, character in enumerate(text):
        room -= BREATH if _wide(character) else 1 + (character == BREAK)  # a comma and a space, perhaps
        if room < 0:
            return index
    return None


def _spaceless(character: str) -> bool:
    """Whether it is of a script that is written without spaces between words: Thai to Khmer, Chinese, Japanese."""
    return (
        _wide(character)
        or "\u0e00" <= character <= "\u0fff"
        or "\u1000" <= character <= "\u109f"
        or ("\u1780" <= character <= "\u17ff")
    )


def _is_edge(text: str, cut: int) -> bool:
    """Whether what stands on either side are two characters to the eye."""
    before, after = text[cut - 1], text[cut : cut + 1]
    if not after:
        return True
    joins = unicodedata.category(after).startswith("M") or after in "\u200c\u200d" or before == "\u200d"
    return not joins and before not in _LEADING_VOWELS and unicodedata.category(after) not in ("Pe", "Pf", "Po")
