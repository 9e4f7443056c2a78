"""The tables of languages for how the words of a turn end, which lie in `languages/` as TOML.

A table that is wrong is a bug of agentd's: reading it raises ValueError.
"""

import re
import tomllib
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import cattrs

from agentd_providers.turns.word_ends import UNKNOWN, WordEnds
from agentd_providers.turns.words import phrases

_SUFFIX = ".toml"
_structure = cattrs.Converter(forbid_extra_keys=True)
_structure.register_structure_hook_func(lambda kind: kind == frozenset[str], lambda raw, _: _listed(raw))
_structure.register_structure_hook_func(lambda kind: kind == re.Pattern[str], lambda raw, _: re.compile(raw))


@lru_cache(maxsize=16)
def open_word_ends(tag: str) -> WordEnds:
    """What is known of the ends of turns in a language (BCP 47), whatever its region. Blocking."""
    primary = tag.replace("_", "-").partition("-")[0].lower()
    if primary not in languages():
        return UNKNOWN
    raw = tomllib.loads(_tables().joinpath(f"{primary}{_SUFFIX}").read_text(encoding="utf-8"))
    try:
        return _structure.structure(raw, WordEnds)
    except cattrs.BaseValidationError as error:
        raise ValueError(f"the table of {primary}: {'; '.join(cattrs.transform_error(error))}") from error


def languages() -> tuple[str, ...]:
    """The languages that have a table. Blocking."""
    names = (entry.name for entry in _tables().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def _tables() -> Traversable:
    return files(__package__).joinpath("languages")


def _listed(raw: Any) -> frozenset[str]:
    """Words are a text, which a table can wrap; phrases a list."""
    return phrases(raw) if isinstance(raw, str) else frozenset(" ".join(item.split()) for item in raw)
