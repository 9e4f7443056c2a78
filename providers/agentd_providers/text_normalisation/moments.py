"""Rules for times of day and dates. Pure."""

import re
from collections.abc import Iterator

from agentd_providers.text_normalisation.language import DayForm
from agentd_providers.text_normalisation.rules import Reading, Rule, ends_text, one_of, word_before

_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def moment_rules(reading: Reading) -> Iterator[Rule]:
    """The rules of times and dates, the most special first."""
    if reading.language.words is None:
        return
    yield from _dates(reading)
    yield from _times(reading)


# --- times


def _times(reading: Reading) -> Iterator[Rule]:
    times = reading.language.table.times
    if not times.full:
        return
    halves = [variant for half in times.halves for variant in _spellings(half)]
    half = rf"(?:\s?(?P<half>{one_of(halves)})(?!\w))?" if halves else "(?P<half>(?!))?"
    after = rf"(?:\s?{re.escape(times.after)}\b)?" if times.after else ""

    def say(found: re.Match[str]) -> str | None:
        said = _time(reading, found, int(found["hour"]), int(found["minute"] or 0), bool(found["half"]))
        if found["half"]:
            name = times.halves[found["half"].replace(".", "").lower()]
            said = times.half.format(time=said, half=name)
            if found["half"].endswith(".") and ends_text(found):
                said += "."
        return said

    mark = f"[{re.escape(times.marks)}]"
    yield Rule(
        re.compile(rf"(?<![\w:.,/-])(?P<hour>[01]?\d|2[0-4]){mark}(?P<minute>[0-5]\d){half}{after}(?![\w:])(?![.,]\d)"),
        say,
        numeric=True,
    )
    # behind a dash, in a range
    yield Rule(
        re.compile(rf"(?<=[-–—])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d){half}{after}(?![\w:])(?![.,]\d)"),
        say,
        numeric=True,
    )
    if halves:
        yield Rule(
            re.compile(rf"(?<![\w:.,/])(?P<hour>1[0-2]|0?[1-9])(?P<minute>(?!))?\s?(?P<half>{one_of(halves)})(?!\w)"),
            say,
            numeric=True,
        )
    if times.after:
        yield Rule(
            re.compile(rf"(?<![\w:.,/])(?P<hour>[01]?\d|2[0-4])(?P<minute>(?!))?(?P<half>(?!))?{after[:-1]}"),
            say,
            numeric=True,
        )


def _spellings(half: str) -> Iterator[str]:
    dotted = "".join(f"{letter}." for letter in half)
    for written in (half, dotted, f"{dotted[:-1]}"):
        yield written
        yield written.upper()


def _time(reading: Reading, found: re.Match[str], hour: int, minute: int, halved: bool) -> str:
    times, words = reading.language.table.times, reading.language.words
    assert words is not None
    if times.midnight and hour in (0, 24) and not minute and not halved:
        return times.midnight
    names = times.hours
    for before, others in times.hours_after.items():
        if word_before(found, before.split("|")):
            names = others
    said = names[hour % 24] if names else words.cardinal(hour, times.gender)
    if not minute:
        if halved:
            return said
        if times.one and hour == 1:
            return times.one
        late = hour > 12 or not hour
        return (times.full_late if times.full_late and late else times.full).format(hour=said)
    template = times.padded if minute < 10 and times.padded else times.minutes
    return template.format(hour=said, minute=words.cardinal(minute))


# --- dates


def _dates(reading: Reading) -> Iterator[Rule]:
    dates = reading.language.table.dates
    if not dates.months:
        return
    months = {name: number for number, name in enumerate(dates.months, 1)} | dict(dates.short_months)
    named = rf"(?P<month>{one_of(months)})\b\.?"
    year = r"(?P<year>(?:1[1-9]|20)\d\d)(?![\w]|[.,:]\d)"
    of = rf"(?:\s{re.escape(dates.of)})?" if dates.of else ""

    def by_name(found: re.Match[str]) -> str | None:
        day_first = dates.day_first and re.match(r"\d+(?:[^\W\d_]+|\sof\s)", found.group())
        return _date(reading, found, int(found["day"]), months[found["month"]], found["year"], bool(day_first))

    def by_numbers(found: re.Match[str]) -> str | None:
        first, second = int(found["first"]), int(found["second"])
        day, month = (second, first) if dates.order == "mdy" and found["mark"] != "." else (first, second)
        if month > 12 >= day and dates.order == "mdy":
            day, month = month, day
        return _date(reading, found, day, month, _full_year(found["year"]))

    ordinal = "(?:st|nd|rd|th|er|re|º|ª|°|e|\\.)?"
    yield Rule(
        re.compile(r"(?<![\w.-])(?P<year>(?:1[1-9]|20)\d\d)[-/](?P<month>\d\d)[-/](?P<day>\d\d)(?![\w-]|[.,:/]\d)"),
        lambda found: _date(reading, found, int(found["day"]), int(found["month"]), found["year"]),
        numeric=True,
    )
    yield Rule(
        re.compile(
            r"(?<![\w.,/-])(?P<first>\d{1,2})(?P<mark>[./-])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d\d)(?![\w/-]|[.,:]\d)"
        ),
        by_numbers,
        numeric=True,
    )
    yield Rule(
        re.compile(rf"(?<![\w.,/])(?P<day>\d{{1,2}}){ordinal}{of}\s(?:of\s)?{named}(?:,?{of}\s{year})?"),
        by_name,
        numeric=True,
    )
    if dates.order == "mdy" or dates.short:
        yield Rule(
            re.compile(rf"(?<!\w){named}\s(?P<day>\d{{1,2}}){ordinal}(?![\w:]|[.,/]\d)(?:,?\s{year})?"),
            by_name,
            numeric=True,
        )
    if dates.short:
        yield Rule(
            re.compile(
                r"(?<![\w.,/-])(?P<first>\d{1,2})(?P<mark>/)(?P<second>\d{1,2})(?P<year>(?!))?(?![\w/-]|[.,:]\d)"
            ),
            by_numbers,
            numeric=True,
        )
    if reading.language.table.abbreviations.ordinal_dot:
        yield Rule(
            re.compile(r"(?<![\w.,/-])(?P<first>\d{1,2})(?P<mark>\.)(?P<second>\d{1,2})\.(?P<year>(?!))?(?!\w)"),
            by_numbers,
            numeric=True,
        )


def _full_year(written: str | None) -> str | None:
    if written is None or len(written) == 4:
        return written
    return f"{'19' if int(written) > 69 else '20'}{written}"


def _date(
    reading: Reading, found: re.Match[str], day: int, month: int, year: str | None, day_first: bool = False
) -> str | None:
    dates, words = reading.language.table.dates, reading.language.words
    assert words is not None
    if not (1 <= month <= 12 and 1 <= day <= _DAYS[month - 1]):
        return None
    form = dates.day_form
    for before, other in dates.day_forms.items():
        if word_before(found, before.split("|")):
            form = other
    if dates.first and day == 1:
        said = dates.first
    elif dates.days:
        said = dates.days[day - 1]
    else:
        said = words.ordinal(day, form) if dates.day is DayForm.ORDINAL else words.cardinal(day)
    said = said or str(day)
    name = dates.months[month - 1]
    if year is None:
        written = (dates.day_first if day_first else dates.day_month).format(day=said, month=name)
    else:
        number = int(year)
        spelled = (words.year(number) if reading.language.table.numbers.years else words.cardinal(number)) or year
        written = dates.with_year.format(day=said, month=name, year=spelled)
        if day_first:
            written = f"{dates.day_first.format(day=said, month=name)}, {spelled}"
    if written.startswith("the ") and word_before(found, ("the",)):
        written = written.removeprefix("the ")
    return f"{written}." if found.group().endswith(".") and ends_text(found) else written
