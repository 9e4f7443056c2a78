"""A vendor's text message as the JSON object that it must be, in whole characters. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from agentd.errors import ProviderProtocolError
from agentd.parsing import load_json

SHOWN = 200
"""Characters of a peer's message that an error repeats."""


def parse_object(vendor: str, message: str, conceal: Callable[[str], str] = str) -> Mapping[str, Any]:
    """The object that `message` (JSON text of `vendor`) is, with half characters mended.

    Raises ProviderProtocolError, which repeats the message's beginning as `conceal` (a VendorSocket's) leaves it.
    """
    try:
        parsed = load_json(message)
    except ValueError as error:
        raise ProviderProtocolError(f"{vendor}: expected JSON, got {conceal(message)[:SHOWN]!r}") from error
    if not isinstance(parsed, dict):
        raise ProviderProtocolError(f"{vendor}: expected a JSON object, got {conceal(message)[:SHOWN]!r}")
    return parsed
