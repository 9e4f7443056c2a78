"""Rules for what is counted and measured: money, units, ranges, ordinals, fractions, years, numbers. Pure."""

import re
from collections.abc import Iterator

from agentd_providers.text_normalisation.language import Currency, Noun
from agentd_providers.text_normalisation.rules import Reading, Rule, one_of, word_before

_FREE = r"(?<![\w@#/])(?<!\d[.,:])"
"""A number does not begin within a word, an address or another number."""
_OVER = r"(?![\w@])(?![.,:/]\d)"
"""Nor does it end there."""
_DASH = r"\s?[-–—]\s?"
_VULGAR = {
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
    "⅕": "1/5",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}
_SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def amount_rules(reading: Reading) -> Iterator[Rule]:
    """The rules of this room, the most special first. Without words for a kind there is no rule for it."""
    yield from _money(reading)
    yield from _decades(reading)
    yield from _measures(reading)
    yield from _years(reading)
    yield from _ordinals(reading)
    yield from _numbers(reading)


# --- money


def _money(reading: Reading) -> Iterator[Rule]:
    table = reading.language.table
    by_sign = {sign: currency for currency in table.currencies.values() for sign in currency.signs}
    if not by_sign:
        return
    money, number = table.money, reading.number
    scale = rf"(?:\s?(?P<scale>{one_of(money.scales)})\b)?" if money.scales else "(?P<scale>(?!))?"
    per = rf"(?:\s?/\s?(?P<per>{one_of(money.per)})\b)?" if money.per else "(?P<per>(?!))?"
    to = rf"(?P<top>{number})"
    minus = r"(?P<minus>[-−])?"

    def say(found: re.Match[str]) -> str | None:
        currency = by_sign[found["sign"]]
        factor = money.scales.get(found["scale"] or "", "")
        bottom, top = found["number"], found["top"]
        if top and table.numbers.to:
            said = f"{reading.said(bottom)} {table.numbers.to} {_amount(reading, top, currency, factor)}"
        else:
            said = _amount(reading, bottom, currency, factor)
        if found["minus"]:
            said = f"{table.numbers.minus} {said}"
        return f"{said} {money.per[found['per']]}" if found["per"] else said

    signs = rf"(?P<sign>{one_of(by_sign)})"
    leading = one_of(sign for sign in by_sign if not (sign.isalpha() and len(sign) > 3))  # no "euros 5"
    before = rf"(?:{_DASH}(?:{leading})?{to})?"
    ends = r"(?!\w)(?![.,]\d)"
    yield Rule(
        re.compile(rf"(?<![\w.,]){minus}(?P<sign>{leading})\s?(?P<number>{number}){before}{scale}{per}{ends}"),
        say,
        numeric=True,
    )
    behind = rf"(?:{_DASH}{to})?"
    yield Rule(
        re.compile(rf"{_FREE}{minus}(?P<number>{number}){behind}{scale}\s?{signs}{per}{ends}"), say, numeric=True
    )


def _amount(reading: Reading, written: str, currency: Currency, factor: str) -> str:
    money = reading.language.table.money
    whole, fraction = reading.parts(written)
    if factor:
        number = reading.said(written)
        return money.scaled.format(
            number=number, scale=factor, noun=currency.whole.form("many") or currency.whole.other
        )
    if not fraction or len(fraction) > 2 or currency.part is None:
        return reading.said(written, currency.whole)
    cents = int(fraction.ljust(2, "0"))
    if not cents:
        return reading.said(str(whole), currency.whole)
    part = reading.said(str(cents), currency.part)
    if not whole:
        return part
    if not money.part_alone:
        part = reading.said(str(cents))
    return money.with_part.format(whole=reading.said(str(whole), currency.whole), part=part)


# --- measures


def _measures(reading: Reading) -> Iterator[Rule]:
    table, number = reading.language.table, reading.number
    numbers = table.numbers
    top = rf"(?:(?P<dash>{_DASH})(?P<top>{number}))?"
    minus = r"(?P<minus>(?<![\w)%])[-−])?"

    def with_range(found: re.Match[str], noun: Noun | None) -> str | None:
        if found["top"] is None:
            said = reading.said(found["number"], noun)
        elif numbers.to:
            said = f"{reading.said(found['number'])} {numbers.to} {reading.said(found['top'], noun)}"
        else:
            return None
        return f"{numbers.minus} {said}" if found["minus"] else said

    if numbers.percent:
        yield Rule(
            re.compile(rf"{_FREE}{minus}(?P<number>{number})\s?(?:%\s?)?{top}\s?%"),
            lambda found: f"{said} {numbers.percent}" if (said := with_range(found, None)) else None,
            numeric=True,
        )
    if table.units:
        yield Rule(
            re.compile(
                rf"{_FREE}{minus}(?P<number>{number}){top}[\s\u00a0\u202f-]?(?P<unit>{one_of(table.units)})(?![\w/²³])"
            ),
            lambda found: with_range(found, table.units[found["unit"]]),
            numeric=True,
        )
    if table.codes.groups and "ft" in table.units and "in." in table.units:
        yield Rule(
            re.compile(r"(?<![\w.])(?P<feet>\d{1,2})['′’]\s?(?P<inches>\d{1,2})(?:[\"″”]|'')(?!\w)"),
            lambda found: (
                f"{reading.said(found['feet'], table.units['ft'])} {reading.said(found['inches'], table.units['in.'])}"
            ),
            numeric=True,
        )
    if numbers.times_suffix:
        yield Rule(
            re.compile(rf"{_FREE}(?P<number>{number})[x×](?![\w])(?!\s?\d)"),
            lambda found: f"{reading.said(found['number'])} {numbers.times_suffix}",
            numeric=True,
        )


# --- fractions (before dates: "3/4" is one, unless the words before it say otherwise)


def fraction_rules(reading: Reading) -> Iterator[Rule]:
    numbers, words = reading.language.table.numbers, reading.language.words
    dates = reading.language.table.dates

    def say(whole: str, over: str, under: str) -> str | None:
        fraction = f"{over}/{under}"
        said = numbers.fractions.get(fraction)
        if said is None and numbers.fraction and words is not None and 1 < int(under) <= 100:
            part = words.ordinal(int(under))
            part = f"{part}{numbers.parts}" if int(over) != 1 else part
            said = numbers.fraction.format(number=words.cardinal(int(over)), part=part) if part else None
        if said is None:
            return None
        if not whole or not numbers.and_fraction:
            return f"{whole} {said}".strip()
        short = said.replace("one half", "a half").replace("one quarter", "a quarter")
        return numbers.and_fraction.format(whole=reading.said(whole), fraction=short)

    def slashed(found: re.Match[str]) -> str | None:
        over, under = int(found["over"]), int(found["under"])
        if not found["whole"] and dates.short and (word_before(found, dates.before_date) or not _is_usual(over, under)):
            return None
        if numbers.out_of and under in (5, 10, 100) and not found["whole"] and over <= under:
            return numbers.out_of.format(number=reading.said(found["over"]), part=reading.said(found["under"]))
        return say(found["whole"] or "", found["over"], found["under"]) if over < under else None

    if numbers.fractions or numbers.fraction:
        yield Rule(
            re.compile(r"(?<![\w./-])(?:(?P<whole>\d{1,3}) )?(?P<over>\d{1,2})/(?P<under>\d{1,3})(?![\w/]|[.,]\d)"),
            slashed,
            numeric=True,
        )
        yield Rule(
            re.compile(rf"(?<![\w.])(?P<whole>\d{{1,3}})?\s?(?P<sign>[{''.join(_VULGAR)}])"),
            lambda found: say(found["whole"] or "", *_VULGAR[found["sign"]].split("/")),
            numeric=True,
        )


def _is_usual(over: int, under: int) -> bool:
    """Whether people name such a fraction: 3/4, and not 11/30."""
    return 0 < over <= under and under in (2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 32, 64, 100)


# --- years, ordinals, plain numbers


def _decades(reading: Reading) -> Iterator[Rule]:
    numbers, words = reading.language.table.numbers, reading.language.words
    if not numbers.decade or words is None:
        return
    year_of = words.year

    def decade(found: re.Match[str]) -> str | None:
        said = year_of(int(found["decade"] or found["short"]))
        for ending, plural in numbers.decade:
            if said.endswith(ending):
                return f"{said.removesuffix(ending)}{plural}"
        return None

    pattern = r"(?<![\w.,])(?:(?P<decade>(?:1[1-9]|20)\d0)|['’](?P<short>[1-9]0))['’]?s\b"
    yield Rule(re.compile(pattern), decade, numeric=True)


def _years(reading: Reading) -> Iterator[Rule]:
    numbers, words = reading.language.table.numbers, reading.language.words
    if not numbers.years or words is None:
        return
    year_of = words.year
    counted = re.compile(rf"[\s\u00a0-]+(?:{numbers.counted})") if numbers.counted else None

    def year(found: re.Match[str]) -> str | None:
        counts = counted is not None and counted.match(found.string, found.end())
        return None if counts and not word_before(found, numbers.year_words) else year_of(int(found["year"]))

    def years(found: re.Match[str]) -> str | None:
        return f"{year_of(int(found['year']))} {numbers.to} {year_of(int(found['until']))}"

    span = r"(?:1[1-9]|20)\d\d"
    if numbers.to:
        yield Rule(
            re.compile(rf"{_FREE}(?P<year>{span}){_DASH}(?P<until>{span})(?!\w)(?![-.,:/]\d)"), years, numeric=True
        )
    yield Rule(re.compile(rf"{_FREE}(?<![-–])(?P<year>{span}){_OVER}(?![-–]\d)"), year, numeric=True)


def _ordinals(reading: Reading) -> Iterator[Rule]:
    numbers, words = reading.language.table.numbers, reading.language.words
    if not numbers.ordinals or words is None:
        return
    ordinal = words.ordinal
    yield Rule(
        re.compile(rf"{_FREE}(?P<number>\d{{1,9}})(?P<ending>{one_of(numbers.ordinals)})(?![\w'’])", re.IGNORECASE),
        lambda found: ordinal(int(found["number"]), numbers.ordinals[found["ending"].lower()]) or None,
        numeric=True,
    )


def _numbers(reading: Reading) -> Iterator[Rule]:
    numbers = reading.language.table.numbers
    if reading.language.words is None or not numbers.decimal:
        return
    if numbers.minus:
        yield Rule(re.compile(r"(?<![\w)%°.\]}'’-])(?<!\d )[-−](?=\d)"), lambda _found: numbers.minus, numeric=True)
    if numbers.to:
        yield Rule(
            re.compile(r"(?:(?<=[\d%°])|(?<=[ap]m)|(?<=[ap]\.m\.)|(?<=[AP]M))\s?[-–—]\s?(?=[$€£]?\d)(?![^=]*=)"),
            lambda _found: numbers.to,
            numeric=True,
        )
        yield Rule(re.compile(r"(?<=\d)\s?[-–]\s?(?=\d)"), lambda _found: numbers.minus, numeric=True)
    if numbers.ratio:
        yield Rule(re.compile(r"(?<=\d):(?=\d)"), lambda _found: numbers.ratio, numeric=True)
    yield Rule(
        re.compile(
            rf"(?<![\w.@/])(?<![^\W\d][-_'’#])(?<!\d[.,])(?P<number>{reading.number})(?![\w@])(?![.,]\d)(?!/\d)"
        ),
        lambda found: reading.said(found["number"]),
        numeric=True,
    )
    yield Rule(
        re.compile(rf"[{_SUPERSCRIPT}]+"),
        lambda found: reading.said("".join(str(_SUPERSCRIPT.index(digit)) for digit in found.group())),
        numeric=True,
    )
