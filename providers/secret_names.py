"""The check of a setting that names a secret, and never holds one. Pure."""

import re

from agentd.schema import Unshown


def secret_name(value: str) -> str | None:
    """A check for agentd.schema: empty, or the name of an environment variable."""
    if value and not re.fullmatch("[A-Z][A-Z0-9_]{0,63}", value):
        return Unshown("must be the name of an environment variable, such as LLM_API_KEY, never the key itself")
    return None
