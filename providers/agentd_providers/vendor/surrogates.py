"""Halves of surrogate pairs in what a vendor says: no encoding can write them, so none is handed on. Pure.

JSON can name half of a character ("\\ud83d"; RFC 8259, section 8.2), as a model does whose text was cut between tokens.
Halves that meet are joined to the character that they are; a half alone becomes U+FFFD (Unicode, section 23.8).
"""

import json
import re
from typing import Any

import attrs

from agentd.parsing import load_json

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
"""How JSON names a half, alone or in a pair; it may also be a backslash and other letters."""


def mended(text: str) -> str:
    """The text in whole characters, which any encoding of Unicode can write."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parse_json(text: str) -> Any:
    """JSON with all of its strings mended. Raises ValueError for text that is no JSON, or nested too deeply."""
    parsed = load_json(text)
    if _HALF.search(text) is None and _ESCAPED.search(text) is None:
        return parsed
    return json.loads(mended(json.dumps(parsed, ensure_ascii=False)))


def mended_json(text: str) -> str:
    """JSON text that names whole characters only; of what is no JSON, the text is mended."""
    text = mended(text)
    if _ESCAPED.search(text) is None:
        return text
    try:
        written = json.dumps(load_json(text), ensure_ascii=False)
    except ValueError:
        return text
    return text if _HALF.search(written) is None else mended(written)


@attrs.define
class PieceMender:
    """Mends a text that comes in pieces: a first half waits for the second."""

    _half: str = attrs.field(default="", init=False)

    def feed(self, piece: str) -> str:
        """The text so far that is whole and was not given yet."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return mended(text.removesuffix(self._half))

    def flush(self) -> str:
        """The rest at the text's end."""
        half, self._half = self._half, ""
        return mended(half)
