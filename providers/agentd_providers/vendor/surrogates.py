"""Halves of surrogate pairs in what a vendor says: no encoding can write them, so none is handed on. Pure.

A model names one whose text was cut between tokens. What becomes of it is agentd.parsing's.
"""

import json

import attrs

from agentd.parsing import load_json, mended


def mended_json(text: str) -> str:
    """JSON text that names whole characters only; of what is no JSON, the text is mended."""
    text = mended(text)
    try:
        load_json(text, mend=False)
    except ValueError:
        try:
            return json.dumps(load_json(text), ensure_ascii=False)
        except ValueError:
            pass
    return text


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
