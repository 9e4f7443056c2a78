"""Rules for abbreviations, Roman numerals, and symbols that carry meaning or none. Pure."""

import re
from collections.abc import Iterator, Mapping

from agentd_providers.text_normalisation.markdown import EMOJI, MODIFIERS
from agentd_providers.text_normalisation.rules import Reading, Rule, ends_text, one_of, word_before

_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_NUMERAL = r"(?=[IVXLC]{1,8}\b)(?:C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"


def abbreviation_rules(reading: Reading) -> Iterator[Rule]:
    """Abbreviations as what they stand for: their dot is no end. At the end of a sentence its own dot stays."""
    table = reading.language.table.abbreviations
    for spelled, number in ((table.before_number, True), ({**table.inside, **table.closing}, False)):
        known = {**spelled, **_capitalised(spelled)}
        if not known:
            continue
        behind = r"(?=\s?\d)" if number else r"(?!\w)"
        yield Rule(
            re.compile(rf"(?<![\w.])(?P<short>{one_of(known)}){behind}"),
            lambda found, known=known: _expanded(found, known),  # type: ignore[misc]
        )
    if table.dotless:
        yield Rule(
            re.compile(rf"(?<![\w.@-])(?P<short>{one_of(table.dotless)})(?![\w@-]|\.\w)"),
            lambda found: table.dotless[found["short"]],
        )
    # J. R. R. Tolkien, and initials that no table has
    yield Rule(
        re.compile(r"(?<![\w.'’])(?P<letter>[^\W\d_])\.(?=\s?[^\W\d_])(?<=[A-ZÀ-ÖØ-ÞŁŚŻŹĆĄĘÓŃ]\.)"),
        lambda found: None if _begins_sentence(reading, found) else found["letter"],
    )
    yield Rule(
        re.compile(r"(?<![\w.])(?:[^\W\d_]\.){2,6}(?!\w)"),
        lambda found: found.group().replace(".", "").upper() + ("." if ends_text(found) else ""),
    )


def _capitalised(spelled: Mapping[str, str]) -> dict[str, str]:
    """The same at the beginning of a sentence."""
    return {
        short[0].upper() + short[1:]: said
        for short, said in spelled.items()
        if short[0].islower() and len(short) > 2 and short[0].upper() + short[1:] not in spelled
    }


def _begins_sentence(reading: Reading, found: re.Match[str]) -> bool:
    """Whether what follows begins a sentence: "Take plan B. We like it." """
    following = re.match(r"\s+([^\W\d_][\w'’]*)", found.string[found.end() :])
    return following is not None and following[1] in reading.language.table.abbreviations.starters


def _expanded(found: re.Match[str], known: Mapping[str, str]) -> str:
    short = found["short"]
    said = known[short]
    if short in ("St.", "Dr.", "Ft.", "Mt."):
        said = _of_street(found, short, said)
    return f"{said}." if short.endswith(".") and ends_text(found) else said


def _of_street(found: re.Match[str], short: str, said: str) -> str:
    """A street and no saint, a drive and no doctor: behind a name, and not before one; or behind a house number's."""
    street = {"St.": "Street", "Dr.": "Drive", "Ft.": "feet"}.get(short)
    before, after = found.string[: found.start()], found.string[found.end() :]
    if street is None:
        return said
    if short == "Ft.":
        return street if re.search(r"\d\s?$", before) else said
    if re.search(r"(?<!\w)\d[\w-]*\s(?:[A-Z0-9][\w'’]*\s){1,3}$", before):
        return street
    named = re.search(r"\b[A-Z][\w'’]*\s$", before) is not None
    return street if named and re.match(r"\s*(?:[^\sA-Z]|$)", after) else said


def roman_rules(reading: Reading) -> Iterator[Rule]:
    """Roman numerals, only where the word before them makes them sure."""
    romans, words = reading.language.table.romans, reading.language.words
    if words is None:
        return
    cardinal, ordinal = words.cardinal, words.ordinal
    if romans.cardinal_after:
        yield Rule(
            re.compile(rf"(?<=\s)(?P<numeral>{_NUMERAL})\b(?!['’.]\w)"),
            lambda found: (
                cardinal(_value(found["numeral"])) if word_before(found, _lower(romans.cardinal_after)) else None
            ),
        )
    if romans.ordinal_after:
        yield Rule(
            re.compile(rf"(?<=\s)(?P<numeral>{_NUMERAL})\b(?!['’.]\w)"),
            lambda found: (
                romans.ordinal.format(ordinal=ordinal(_value(found["numeral"])))
                if word_before(found, _lower(romans.ordinal_after)) and found["numeral"] != "I"
                else None
            ),
        )


def _lower(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(str.lower, words))


def _value(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def word_rules(reading: Reading) -> Iterator[Rule]:
    """Words that are written in short with a symbol."""
    words = reading.language.table.symbols.words
    if words:
        yield Rule(re.compile(rf"(?<![\w/])(?P<word>{one_of(words)})(?![\w/])"), lambda found: words[found["word"]])


def symbol_rules(reading: Reading) -> Iterator[Rule]:
    """What is left: a symbol that means something is said, one that means nothing is silent."""
    symbols, codes = reading.language.table.symbols, reading.language.table.codes
    yield Rule(re.compile(r"\*{3,}\s?|_{2,}|#{2,}\s"), lambda _found: "")  # what is masked, blanks, headings
    yield Rule(re.compile(r"[\[\]{}|`\\^]|<(?=\w)|(?<=\w)>"), lambda _found: "")
    emoji = f"(?:{EMOJI.pattern}[{MODIFIERS}]*)+"
    yield Rule(re.compile(rf"\s+(?:{emoji}\s*)+(?=[.,;:!?])|{emoji}|[{MODIFIERS}]"), lambda _found: "")
    yield Rule(re.compile(r"(?<!\w)#(?=[^\W\d_])"), lambda _found: "")
    yield Rule(re.compile(r"\s*(?:→|⇒|->|=>)\s*"), lambda _found: ", ")
    yield Rule(re.compile(r"\s*(?:\.\s?\.(?:\s?\.)+|…+)"), lambda found: "." if ends_text(found) else ", ")
    yield Rule(re.compile(r"(?<=\w)\s+[-–—]{1,3}\s+(?=\w)|(?<=\w)\s?—\s?(?=\w)|(?<=\w)--(?=\w)"), lambda _found: ", ")
    yield Rule(re.compile(r"\s+(?=[.,;!?](?:\s|$))"), lambda _found: "")
    for where, spoken in (
        (r"(?<=\d\s){}(?=\s?[\d($€£])|(?<=\d){}(?=[\d($€£])", symbols.between_numbers),
        (r"{}(?=\s?[$€£]?\d)", symbols.before_number),
        (r"(?<=\d){}(?!\w)", symbols.after_number),
        (r"(?<=[^\W\d_]){}(?!\w)", symbols.after_letter),
        (r"{}", symbols.alone),
    ):
        known = {**spoken}
        for symbol in sorted(known, key=len, reverse=True):
            yield Rule(
                re.compile(where.replace("{}", re.escape(symbol))),
                lambda _found, said=known[symbol]: said,  # type: ignore[misc]
            )
    if codes.underscore:
        yield Rule(re.compile(r"(?<=\w)_(?=\w)"), lambda _found: codes.underscore)
    if symbols.either:
        yield Rule(re.compile(r"(?<=[^\W\d_A-Z])\s?/\s?(?=[^\W\d_])"), lambda _found: symbols.either)
        yield Rule(re.compile(r"(?<=\w)/(?=\w)"), lambda _found: " ")
