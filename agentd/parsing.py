"""JSON and TOML that others wrote, read with a bound on their depth and in whole characters. Pure.

A parser calls itself for each list or table inside of another, and so does whoever walks over what it gives. How deep
that may go is the interpreter's affair and differs from one version of Python to the next: some give up with
RecursionError after a thousand, others after many thousands, and a walk over the result fails long before. So the depth
is counted here, before anything is parsed, and what is too deep is refused like any other text that is wrong.

JSON can name half of a character ("\\ud83d"; RFC 8259, section 8.2), as one does that was cut between two pieces, and
so can a file name or the environment of a process (PEP 383). No encoding can write it: whoever tried to, to a log, a
request or another process, would raise. Halves that meet are joined to the character that they are; a half alone
becomes U+FFFD (Unicode, section 23.8).
"""

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any, Final

import attrs

DEEPEST: Final = 64
"""Lists and tables inside of each other. ARI, the vendors' protocols and our own files need fewer than ten."""

_HALF = re.compile("[\ud800-\udfff]")
_HALF_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON names a half, alone or in a pair; it may also be a backslash and other letters."""
_ESCAPE = re.compile(r"\\[^\r\n]?")
_LINE_END = re.compile("[\r\n]")
_NO_BRACKET = re.compile(r"[^][{}]+")
_TOML_TEXT = re.compile(
    r'''
      """ (?: \\. | (?!""") . )*+ (?: """ )?
    | \'\'\' (?: (?!\'\'\') . )*+ (?: \'\'\' )?
    | " (?: \\. | [^"\\\n] )*+ "?
    | ' [^'\n]*+ '?
    | \# [^\n]*+
    ''',
    re.DOTALL | re.VERBOSE,
)
"""TOML's strings and comments (TOML 1.0, "Comment" and "String")."""
_LONG_KEY = re.compile(rf"(?: [^][{{}}=,.\s]++ [ \t]*+ \. [ \t]*+ ){{{DEEPEST}}}", re.VERBOSE)
"""A dotted key, each part of which is a table inside of the one before."""


class NestedTooDeeply(ValueError):
    """A text holds more than `DEEPEST` lists and tables inside of each other."""

    def __init__(self) -> None:
        super().__init__(f"more than {DEEPEST} lists or tables are nested in each other")


@attrs.define
class Nesting:
    """Counts how deep JSON is nested, in a text that comes in pieces; it may be lines that hold JSON, as those of an
    event stream. Brackets inside of strings do not count, and no string goes on behind the end of a line (RFC 8259,
    section 7)."""

    depth: int = attrs.field(default=0, init=False)
    _in_string: bool = attrs.field(default=False, init=False)
    _backslash: str = attrs.field(default="", init=False)
    """One that a piece ended with: what it escapes comes with the next."""

    def feed(self, text: str) -> None:
        """Take more of the text. Raises NestedTooDeeply."""
        text = self._backslash + text
        self._backslash = "\\" if (len(text) - len(text.rstrip("\\"))) % 2 else ""
        lines = _LINE_END.split(_ESCAPE.sub("", text.removesuffix(self._backslash)))
        for number, line in enumerate(lines):
            self._in_string = self._in_string and number == 0
            parts = line.split('"')
            self.depth = _depth_after("".join(parts[1 if self._in_string else 0 :: 2]), self.depth)
            self._in_string ^= len(parts) % 2 == 0


def load_json(
    text: str | bytes | bytearray,
    *,
    parse_float: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
    mend: bool = True,
) -> Any:
    """The value of a JSON text, its texts in whole characters; bytes are UTF-8. The hooks are json.loads's.

    Raises ValueError where it is no JSON, is nested too deeply, or, without `mend`, names half a character.
    """
    if not isinstance(text, str):
        text = text.decode("utf-8-sig")
    if text.count("[") + text.count("{") > DEEPEST:
        Nesting().feed(text)
    value = json.loads(text, parse_float=parse_float, parse_constant=parse_constant)
    if _HALF_ESCAPED.search(text) is None and _HALF.search(text) is None:
        return value
    whole = _mended(value)
    if not mend and whole != value:
        raise ValueError("half a surrogate pair is no character")
    return whole


def mended(text: str) -> str:
    """The text in whole characters, which any encoding of Unicode can write."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def load_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text, which names whole characters only (TOML 1.0, "String"). Raises ValueError:
    tomllib.TOMLDecodeError where it is no TOML, NestedTooDeeply, and what a number of too many digits raises."""
    bare = _TOML_TEXT.sub("x", text)
    _depth_after(bare)
    if _LONG_KEY.search(bare):
        raise NestedTooDeeply
    tables = tomllib.loads(text)
    if _depth(tables) > DEEPEST:  # dotted keys and brackets together
        raise NestedTooDeeply
    return tables


def _mended(value: Any) -> Any:
    match value:
        case str():
            return mended(value)
        case list():
            return [_mended(each) for each in value]
        case dict():
            return {mended(key): _mended(each) for key, each in value.items()}
    return value


def _depth_after(text: str, depth: int = 0) -> int:
    """How deep the brackets of a text lead from `depth`. Raises NestedTooDeeply if that was too deep on the way."""
    for bracket in _NO_BRACKET.sub("", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > DEEPEST:
            raise NestedTooDeeply
    return depth


def _depth(value: object) -> int:
    """Lists and tables inside of each other, at most one more than `DEEPEST`."""
    depth, level = 0, [value]
    while depth <= DEEPEST and (inner := [one for one in level if isinstance(one, dict | list)]):
        depth += 1
        level = [one for outer in inner for one in (outer.values() if isinstance(outer, dict) else outer)]
    return depth
