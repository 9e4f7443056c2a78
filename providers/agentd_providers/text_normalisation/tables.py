"""The tables of languages, which lie beside this module as TOML, and the words of numbers, which are CLDR's.

`any.toml` holds for every language, `en.toml` for English, and `en-GB.toml` for what is different in Britain. A table
that is wrong is a bug of agentd's: reading it raises ValueError.
"""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import attrs
import cattrs

from agentd.errors import ProviderUnavailable
from agentd.installation import how_to_add
from agentd_providers.text_normalisation.language import Language, LanguageTable

if TYPE_CHECKING:
    from unicode_rbnf import FormatPurpose, RbnfEngine

_structure = cattrs.Converter(forbid_extra_keys=True)


@lru_cache(maxsize=16)
def open_language(tag: str) -> Language:
    """What is known of a language (BCP 47); of an unknown one, what holds for every language. Blocking.

    Raises ProviderUnavailable where the words of numbers are not installed.
    """
    subtags = [part for part in tag.replace("_", "-").split("-") if part]
    primary = subtags[0].lower() if subtags else "und"
    region = next((part.upper() for part in subtags[1:] if len(part) == 2 or part.isdigit()), "")
    raw = _merged(_read("any"), _merged(_read(primary), _read(f"{primary}-{region}")))
    try:
        table = _structure.structure(raw, LanguageTable)
    except cattrs.BaseValidationError as error:
        raise ValueError(f"the table of {tag}: {'; '.join(cattrs.transform_error(error))}") from error
    return Language(f"{primary}-{region}" if region else primary, table, _number_words(primary))


def languages() -> tuple[str, ...]:
    """The languages that have a table of their own."""
    names = (entry.name for entry in files(__package__).joinpath("languages").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml") and name != "any.toml"))


def _read(name: str) -> dict[str, Any]:
    if not name.replace("-", "").isalnum():
        return {}
    entry = files(__package__).joinpath("languages", f"{name}.toml")
    return tomllib.loads(entry.read_text(encoding="utf-8")) if entry.is_file() else {}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _number_words(primary: str) -> "CldrNumbers | None":
    try:
        from unicode_rbnf import FormatPurpose, RbnfEngine
        from unicode_rbnf.engine import RbnfError
    except ImportError as error:
        raise ProviderUnavailable(
            f"the words of numbers are not installed: {error}; {how_to_add('pipeline')}"
        ) from error
    if primary not in RbnfEngine.get_supported_languages():
        return None
    return CldrNumbers(RbnfEngine.for_language(primary), FormatPurpose, (RbnfError, ValueError))


@attrs.frozen
class CldrNumbers:
    """See agentd_providers.text_normalisation.language.NumberWords: the Unicode consortium's rules."""

    _engine: "RbnfEngine" = attrs.field(repr=False)
    _purpose: "type[FormatPurpose]" = attrs.field(repr=False)
    _errors: tuple[type[Exception], ...] = attrs.field(repr=False)

    def cardinal(self, number: int, gender: str = "") -> str:
        texts = self._texts(number, self._purpose.CARDINAL)
        first = f"spellout-cardinal-{gender}" if gender else "spellout-numbering"
        for name in (first, "spellout-cardinal", "spellout-numbering"):
            if name in texts:
                return texts[name]
        return next(iter(texts.values()), str(number))

    def ordinal(self, number: int, form: str = "") -> str:
        texts = self._texts(number, self._purpose.ORDINAL)
        return texts.get(f"spellout-ordinal-{form}" if form else "spellout-ordinal", "")

    def year(self, number: int) -> str:
        return next(iter(self._texts(number, self._purpose.YEAR).values()), "") or self.cardinal(number)

    def plural(self, number: Decimal) -> str:
        from unicode_rbnf.plural_rules import get_plural_category

        return str(get_plural_category(self._engine.language, number))

    def _texts(self, number: int, purpose: "FormatPurpose") -> Mapping[str, str]:
        try:
            texts = self._engine.format_number(number, purpose).text_by_ruleset
        except self._errors:
            return {}
        return {name: text.replace("\u00ad", "") for name, text in texts.items()}
