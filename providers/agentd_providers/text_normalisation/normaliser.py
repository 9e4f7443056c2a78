"""Text normalisation of a clause: what is written becomes what is said, word for word accounted for. Pure.

Every rule looks at the text as it was written; where two find the same place, the earlier one in the order of `_rules`
has it. So no rule undoes what another has said, and each written word is known by what is said for it.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain

import attrs

from agentd_providers.text_normalisation.amounts import amount_rules, fraction_rules
from agentd_providers.text_normalisation.codes import address_rules, code_rules
from agentd_providers.text_normalisation.language import Language
from agentd_providers.text_normalisation.lexicon import is_ipa
from agentd_providers.text_normalisation.moments import moment_rules
from agentd_providers.text_normalisation.rules import Reading, Rule, one_of
from agentd_providers.text_normalisation.symbols import abbreviation_rules, roman_rules, symbol_rules, word_rules

LONGEST = 4000
"""Characters of a text that are looked at as one; what is longer is spoken in such pieces."""
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\S+")


@attrs.frozen
class Spoken:
    """A text as it is said; empty where there is nothing to say. `words` tells for each of the written text's words
    what is said for it: a part of a phrase, many words, or nothing."""

    text: str
    words: tuple[str, ...]


@attrs.frozen(eq=False)
class TextNormaliser:
    """The rules of one language, for one voice. `lexicon`: words, and what the configuration has said for them.

    `reads_numbers`: the voice reads quantities, times and dates well by itself; codes and addresses are said all the
    same. `takes_ipa`: it takes IPA in double brackets, as Piper does.
    """

    language: Language = attrs.field(factory=Language)
    lexicon: Mapping[str, str] = attrs.field(factory=dict)
    reads_numbers: bool = False
    takes_ipa: bool = False
    _rules: tuple[Rule, ...] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        reading = Reading.of(self.language)
        rules = chain(
            self._lexicon_rules(),
            address_rules(reading),
            word_rules(reading),
            fraction_rules(reading),
            moment_rules(reading),
            roman_rules(reading),
            code_rules(reading),
            amount_rules(reading),
            abbreviation_rules(reading),
            symbol_rules(reading),
        )
        object.__setattr__(self, "_rules", tuple(rules))

    def spoken(self, text: str) -> Spoken:
        """What is said for a text without markup."""
        pieces = [self._spoken(text[at : at + LONGEST]) for at in range(0, len(text), LONGEST)]
        said = " ".join(piece.text for piece in pieces if piece.text)
        return Spoken(said, tuple(word for piece in pieces for word in piece.words))

    def _spoken(self, text: str) -> Spoken:
        found = self._found(text)
        said = _Said(text)
        at = 0
        for start, end, spoken in found:
            said.keep(at, start)
            said.replace(start, end, spoken)
            at = end
        said.keep(at, len(text))
        return said.whole()

    def _found(self, text: str) -> list[tuple[int, int, str]]:
        """What the rules have found, in order, none over another."""
        taken = bytearray(len(text))
        numbers = any(map(str.isnumeric, text))
        found: list[tuple[int, int, str]] = []
        for rule in self._rules:
            if rule.numeric and not numbers:
                continue
            for match in rule.pattern.finditer(text):
                start, end = match.span()
                if start == end or any(taken[start:end]):
                    continue
                if (spoken := rule.say(match)) is not None:
                    taken[start:end] = b"\x01" * (end - start)
                    if not (rule.numeric and self.reads_numbers):
                        found.append((start, end, spoken))
        return sorted(found)

    def _lexicon_rules(self) -> Iterator[Rule]:
        if not self.lexicon:
            return
        folded = {written.casefold(): said for written, said in self.lexicon.items()}

        def say(found: re.Match[str]) -> str:
            said = self.lexicon.get(found.group()) or folded[found.group().casefold()]
            return f"[[{said.strip('/')}]]" if is_ipa(said) and self.takes_ipa else said.strip("/")

        yield Rule(re.compile(rf"(?<!\w)(?:{one_of(self.lexicon)})(?!\w)", re.IGNORECASE), say)


@attrs.define
class _Said:
    """What is said so far, and for each character of the text how much of it."""

    text: str
    _parts: list[str] = attrs.field(factory=list)
    _of: list[tuple[int, int, str]] = attrs.field(factory=list)

    def keep(self, start: int, end: int) -> None:
        if start < end:
            self._add(self.text[start:end], start, end)

    def replace(self, start: int, end: int, spoken: str) -> None:
        last = self._parts[-1][-1:] if self._parts else ""
        if spoken and last.isalnum() and (spoken[0].isalnum() or spoken[0] == "["):
            spoken = f" {spoken}"
        following = self.text[end : end + 1]
        if spoken and following.isalnum() and not spoken[-1].isspace():
            spoken = f"{spoken} "
        if not spoken and last.isspace() and (following.isspace() or not following):
            self._of.append((start, end, ""))
            return
        self._add(spoken, start, end)

    def _add(self, spoken: str, start: int, end: int) -> None:
        if spoken:
            last = self._parts[-1][-1:] if self._parts else ""
            if spoken[0].isalnum() and last.isalnum() and start and not self.text[start - 1 : start + 1].isalnum():
                spoken = f" {spoken}"
            self._parts.append(spoken)
        self._of.append((start, end, spoken))

    def whole(self) -> Spoken:
        text = _SPACE.sub(" ", "".join(self._parts)).strip()
        if not any(map(str.isalnum, text)):
            text = ""
        return Spoken(text, tuple(self._words()))

    def _words(self) -> Iterator[str]:
        """What is said for each written word: of what stands for several, a share by their lengths."""
        for word in _WORD.finditer(self.text):
            said = ""
            for start, end, spoken in self._of:
                low, high = max(start, word.start()), min(end, word.end())
                if low >= high:
                    continue
                if spoken == self.text[start:end]:
                    said += spoken[low - start : high - start]
                    continue
                whole = len(_SPACE.sub("", self.text[start:end])) or 1
                before = len(_SPACE.sub("", self.text[start:low]))
                share = len(_SPACE.sub("", self.text[low:high]))
                said += spoken[len(spoken) * before // whole : len(spoken) * (before + share) // whole]
            yield _SPACE.sub(" ", said).strip()
