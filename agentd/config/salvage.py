"""What can still be read of an agent.toml that is refused, for who has to act without it. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from agentd.parsing import load_toml

_HEADER = re.compile(r"\s*\[\s*([^\[\]]*?)\s*\]\s*(?:#.*)?")


def salvaged_table(text: str, name: str) -> Mapping[str, Any]:
    """The table [name]: whole where the text is TOML, else those of its lines that are; empty where there is none.

    The values are anybody's: `agentd.config.schema.build` has the default stand in for one that is no good.
    """
    try:
        table = load_toml(text).get(name)
    except ValueError:
        return _lines_of(text, name)
    return table if isinstance(table, dict) else {}


def _lines_of(text: str, name: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    current = ""
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            header = _HEADER.fullmatch(line)
            current = header[1] if header else ""
        elif current == name:
            try:
                found |= load_toml(line)
            except ValueError:
                continue
    return found
