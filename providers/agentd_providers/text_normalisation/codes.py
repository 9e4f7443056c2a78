"""Rules for what is no quantity: addresses, telephone numbers, codes, keys of the telephone. Pure."""

import re
from collections.abc import Iterator, Mapping

from agentd_providers.text_normalisation.rules import Reading, Rule

_KEY = re.compile(r"[*#]|\d+")
_RUN = re.compile(r"\d+|[^\W\d_]+|[-_./+:@]")
_FILES = "pdf|docx?|xlsx?|pptx?|txt|csv|jpe?g|png|gif|svg|zip|mp[34]|wav|html?|json|xml|toml|ya?ml|md|exe"
"""What the names of files end with."""
_LONGEST_PATH = 30
_NEAR = 30
"""Characters before a number in which a word may say that it is a code."""


def address_rules(reading: Reading) -> Iterator[Rule]:
    """What stands on the internet: links as a person says them, without scheme, path of machines, or query."""
    table = reading.language.table
    host = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
    tld = "|".join(sorted(table.tlds, key=lambda name: (-len(name), name)))
    mailbox = r"[A-Za-z0-9][\w.+%-]{0,63}"
    yield Rule(
        re.compile(
            rf"(?<![\w.@])(?:mailto:)?(?P<mailbox>{mailbox})@(?P<host>{host}[a-z]{{2,24}})(?![\w@])", re.IGNORECASE
        ),
        lambda found: _mail(reading, found["mailbox"], found["host"]),
    )
    ends = r"(?P<rest>(?::\d{1,5})?(?:[/?#][^\s<>\"]*)?)"
    yield Rule(
        re.compile(
            rf"(?<![\w@])(?:[a-z][a-z0-9+.-]{{1,9}}://|www\.)(?:[^\s/@]+@)?(?P<host>[^\s/?#:<>\"]+){ends}",
            re.IGNORECASE,
        ),
        lambda found: _link(reading, found["host"], found["rest"]),
    )
    if dot := table.codes.dot:
        yield Rule(re.compile(rf"(?<=\w)\.(?=(?:{_FILES})(?!\w))"), lambda _found: dot)
    if tld:
        yield Rule(
            re.compile(rf"(?<![\w.@/-])(?P<host>{host}(?:{tld})){ends}(?![\w@-]|\.\w)", re.IGNORECASE),
            lambda found: _link(reading, found["host"], found["rest"]) if _is_name(found["host"]) else None,
        )


def _is_name(host: str) -> bool:
    """Whether it is a host's name, and no two sentences without a space between them ("it works.In")."""
    ending = host.rpartition(".")[2]
    return ending.islower() or host.isupper()


def _link(reading: Reading, host: str, rest: str) -> str:
    closing = _closing(host + rest)
    if closing:
        whole = (host + rest).removesuffix(closing)
        host, rest = (whole[: len(host)], whole[len(host) :])
    path = rest.partition("?")[0].partition("#")[0].strip("/")
    said = _spelled(reading, host.lower().removeprefix("www."))
    slash = reading.language.table.codes.slash
    simple = "?" not in rest and not rest.startswith(":") and len(path) <= _LONGEST_PATH
    if slash and simple and re.fullmatch(r"[A-Za-z]+(?:[-_/][A-Za-z]+)*", path):
        said = f"{said} {slash} {_spelled(reading, path)}"
    return f"{said}{closing}"


def _closing(text: str) -> str:
    """The marks at the end of an address that are its sentence's."""
    end = text.rstrip(".,;:!?'\"”’*_»")
    if end.endswith(")") and "(" not in end:
        end = end.rstrip(").,;:!?")
    return text[len(end) :]


def _mail(reading: Reading, mailbox: str, host: str) -> str:
    at = reading.language.table.codes.at or "@"
    return f"{_spelled(reading, mailbox)} {at} {_spelled(reading, host.lower())}"


def _spelled(reading: Reading, text: str) -> str:
    """An address in words: what stands between its parts has names, and numbers are digits."""
    codes = reading.language.table.codes
    names = {
        ".": codes.dot,
        "_": codes.underscore,
        "-": codes.hyphen,
        "/": codes.slash,
        "+": codes.plus,
        ":": codes.colon,
    }
    said: list[str] = []
    for part in _RUN.findall(text):
        if part.isdigit():
            said.append(reading.digits(part) if codes.groups and len(part) > 1 else reading.said(part))
        else:
            said.append(names.get(part, part) or part)
    if not codes.dot:
        return text
    return " ".join(said)


def code_rules(reading: Reading) -> Iterator[Rule]:
    """Telephone numbers, codes and keys, digit by digit."""
    codes, numbers = reading.language.table.codes, reading.language.table.numbers
    keys = reading.language.table.symbols.alone
    if "*" in keys and "#" in keys:
        yield Rule(
            re.compile(r"(?<![\w*#])(?=[\d*#]*[*#])(?=[\d*#]*\d)(?!\*{3})[\d*#]+(?![\w*#]|[.,]\d)"),
            lambda found: _keys(reading, found.group(), keys),
        )
    if not codes.groups:
        return
    near = re.compile(rf"(?<!\w)(?:{'|'.join(codes.words)})\b[^.!?;\d]{{0,{_NEAR}}}$") if codes.words else None

    def named(found: re.Match[str]) -> bool:
        before = found.string[max(found.start() - 2 * _NEAR, 0) : found.start()]
        return near is not None and near.search(before) is not None

    counted = re.compile(rf"[\s\u00a0-]+(?:{numbers.counted})") if numbers.counted else None

    def counts(found: re.Match[str]) -> bool:
        return counted is not None and counted.match(found.string, found.end()) is not None

    def telephone(found: re.Match[str]) -> str | None:
        written = found["number"]
        groups = re.findall(r"\d+", written)
        digits = sum(map(len, groups))
        if not 7 <= digits <= 19 or counts(found):
            return None
        spaced = not set(written) & set("+(-/") and "." not in written
        thousands = len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
        if spaced and thousands and not (written.startswith("0") or named(found)):
            return None
        if len(groups) == 2 and groups[1].endswith("00") and len(groups[0]) == 4 and not named(found):
            return None
        said = ", ".join(_digit_group(reading, group) for group in groups)
        if written.startswith("+") and codes.plus:
            said = f"{codes.plus} {said}"
        return said

    yield Rule(
        re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)"),
        lambda found: _dotted(reading, found.group(), codes.dot),
    )
    yield Rule(
        re.compile(r"(?<![\w.])[vV]?\d{1,3}(?:\.\d{1,3}){2}(?![\w]|\.\d)"),
        lambda found: _dotted(reading, found.group(), numbers.point),
    )
    yield Rule(
        re.compile(
            r"(?<![\w.,:$€£#@/-])(?P<number>(?:\+\d{1,3}[\s./-]?)?(?:\(\d{1,5}\)\s?|\d{1,5}[\s.-])(?:\d{2,5}[\s.-]){0,5}\d{2,7})"
            r"(?![\w@]|[.,:/-]\d|-\w)"
        ),
        telephone,
    )
    yield Rule(
        re.compile(r"(?<![\w.,:$€£#@/-])(?P<number>\+\d{7,15}|\d-\d{3}-(?=[A-Z]))(?!\d)"),
        lambda found: telephone_plain(found["number"]),
    )

    def telephone_plain(written: str) -> str:
        said = ", ".join(_digit_group(reading, group) for group in re.findall(r"\d+", written))
        ended = f"{said}, " if written.endswith("-") else said
        return f"{codes.plus} {ended}" if written.startswith("+") and codes.plus else ended

    yield Rule(re.compile(r"(?<![\w.-])\d(?:-\d){2,7}(?![\w-])"), lambda found: reading.digits(found.group()))

    def lone(found: re.Match[str]) -> str | None:
        digits = found["number"]
        if digits.startswith("0"):
            return _digit_group(reading, digits)
        if counts(found):
            return None
        if named(found) and len(digits) >= 3:
            return _digit_group(reading, digits)
        if len(digits) >= codes.digits and not digits.endswith("000"):
            return _digit_group(reading, digits)
        return None

    yield Rule(re.compile(r"(?<![\w.,:/$€£@'’-])(?<!\d\s[-–])(?P<number>\d{2,19})(?![\w@%°]|[.,:/-]\d|\s?[%°€])"), lone)
    yield Rule(
        re.compile(r"(?<![\w@.])(?=[A-Z0-9_-]*\d)(?=[A-Z0-9_-]*[A-Z])[A-Z0-9]+(?:[-_][A-Z0-9]+)*(?![\w@]|\.\w|-\w)"),
        lambda found: _code(reading, found.group()),
    )


def _digit_group(reading: Reading, digits: str) -> str:
    """Digits one by one; many, in groups of three and the last of four, as they are dictated."""
    if len(digits) <= 6:
        return reading.digits(digits)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    if len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return ", ".join(map(reading.digits, groups))


def _dotted(reading: Reading, written: str, dot: str) -> str:
    version = "version " if written[0] in "vV" else ""
    return version + f" {dot} ".join(map(reading.said, written.lstrip("vV").split(".")))


def _keys(reading: Reading, written: str, names: Mapping[str, str]) -> str | None:
    if re.fullmatch(r"#\d+", written):
        return None
    groups = reading.language.table.codes.groups
    said = (names.get(part) or (reading.digits(part) if groups else part) for part in _KEY.findall(written))
    return " ".join(said)


def _code(reading: Reading, written: str) -> str | None:
    """A code of capitals and digits: its letters and its digits one by one."""
    codes = reading.language.table.codes
    names = {"-": "", "_": codes.underscore}
    parts = _RUN.findall(written)
    letters = [part for part in parts if part.isalpha()]
    if len(parts) <= 3 and len(letters) == 1 and "_" not in parts:
        worded = len(letters[0]) > 3 and parts[0].isalpha()  # COVID-19
        short = len(letters[0]) == 1 and parts[0].isalpha() and len(parts[-1]) <= 2 and parts[-1].isdigit()  # B12
        single = parts[0].isdigit() and len(parts) == 2 and len(parts[0]) <= 2 and len(letters[0]) <= 2  # 3D
        if worded or short or single:
            return " ".join(reading.said(part) if part.isdigit() else part for part in parts if part != "-")
    said: list[str] = []
    for part in parts:
        if part.isdigit():
            said.append(reading.digits(part))
        elif part.isalpha():
            said += part
        elif names.get(part):
            said.append(names[part])
    last = len(said) - 1
    return " ".join(codes.letters.get(word, word) if at < last else word for at, word in enumerate(said))
