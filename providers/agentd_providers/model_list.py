"""A server's own list of its models, compared with those that an agent uses: which are there, and which will end. Pure.

The lists: OpenAI's and everybody's who speaks its language, with its `shutdown_date`
(https://developers.openai.com/api/docs/api-reference/models), as openai 3.54's types/model.py has it; Mistral's
`deprecation`, `deprecation_replacement_model` and `aliases` (https://docs.mistral.ai/api/endpoint/models);
OpenRouter's `expiration_date` (https://openrouter.ai/docs/client-sdks/go/api-reference/models/model); Azure's
`deprecation.inference` (https://learn.microsoft.com/en-us/rest/api/azureopenai/models/list); Deepgram's `stt` and
`tts` (https://developers.deepgram.com/reference/manage/models/list). What a list says of a model goes
before our own table (agentd_providers.model_names). What is no list, or says nothing of an end, is no error.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from agentd.parsing import load_json, mended
from agentd_providers.model_names import NEAR, SUCCESSORS, months_between, served_by

LARGEST = 4 << 20
"""Bytes of a list that are read: OpenRouter's has about one million, OpenAI's twenty thousand."""
MOST_SHOWN = 10
LONGEST_NAME = 100
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LAST_SECOND = 253_402_300_799
"""Of the year 9999."""


@attrs.frozen
class UsedModel:
    """A model that an agent names in `setting`, below its own table; `kind` as in model_names.SUCCESSORS."""

    setting: str
    model: str
    kind: str = "chat"


@attrs.frozen
class ModelList:
    """GET `url`, with the key of the credential that this belongs to, lists a server's models; `used` should be among
    them."""

    url: str
    used: tuple[UsedModel, ...]


class Standing(StrEnum):
    """What a list tells of a model."""

    SERVED = "served"
    ENDS = "ends"
    """In `NEAR` months, or before."""
    ENDED = "ended"
    UNLISTED = "not listed"
    UNTOLD = "not told"
    """The server lists no models of this family, or its users name them as they like."""


@attrs.frozen
class Told:
    """What a list tells of a model in use; `ends` is a day (ISO 8601), empty: none is told. `instead` is what to take
    in its place, for people; empty: nothing is known."""

    used: UsedModel
    standing: Standing
    ends: str = ""
    instead: str = ""

    @property
    def text(self) -> str:
        """The same for people, without the setting."""
        model = repr(self.used.model)
        match self.standing:
            case Standing.ENDS:
                return f"{model} ends on {self.ends}"
            case Standing.ENDED:
                return f"{model} has ended on {self.ends}"
            case Standing.UNLISTED:
                return f"the model {model} is not listed there"
            case Standing.UNTOLD:
                return f"{model} cannot be looked up there"
        return f"{model} is served" + (f" until {self.ends}" if self.ends else "")


@attrs.frozen
class _Listed:
    names: frozenset[str]
    ends: str = ""
    instead: str = ""

    def is_named(self, model: str) -> bool:
        return any(_same(name, model) for name in self.names)


def told_of(url: str, body: bytes, used: Sequence[UsedModel], today: str) -> Sequence[Told]:
    """What the answer of the server at `url` tells of each model in use; nothing where it is no list, or an empty one.
    `today` is a day (ISO 8601)."""
    try:
        answer = load_json(body)
    except ValueError:
        return ()
    own_names = _names_are_the_users(answer)
    found = []
    for one in used:
        listed = list(_listed(answer, one.kind))
        if listed:
            found.append(_judged(url, one, listed, today, own_names=own_names))
    return found


def _judged(url: str, used: UsedModel, listed: Sequence[_Listed], today: str, *, own_names: bool) -> Told:
    entry = next((entry for entry in listed if entry.is_named(used.model)), None)
    if entry is None:
        family = used.model.partition("-")[0]
        known = any(name.startswith(family) for entry in listed for name in entry.names)
        if own_names or (served_by("deepgram.com", url) and not known):
            return Told(used, Standing.UNTOLD)
        names = sorted({name for entry in listed for name in entry.names})
        more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
        return Told(used, Standing.UNLISTED, instead=f"it lists {', '.join(names[:MOST_SHOWN])}{more}")
    if not entry.ends:
        return Told(used, Standing.SERVED)
    instead = entry.instead
    if not instead and served_by("openai.com", url) and (successor := SUCCESSORS.get(used.kind)):
        instead = successor
    if entry.ends <= today:
        return Told(used, Standing.ENDED, entry.ends, instead)
    near = months_between(today, entry.ends) <= NEAR
    return Told(used, Standing.ENDS if near else Standing.SERVED, entry.ends, instead)


def _same(listed: str, model: str) -> bool:
    """Gemini lists `models/gemini-...` (https://ai.google.dev/gemini-api/docs/openai), Ollama `llama3.2:latest`
    (docs/openai.md in its repository), LiteLLM `openai/*` (https://docs.litellm.ai/docs/wildcard_routing)."""
    if listed.endswith("*"):
        return model.startswith(listed[:-1])
    return _plain(listed) == _plain(model)


def _plain(name: str) -> str:
    return name.removeprefix("models/").removesuffix(":latest")


def _listed(answer: Any, kind: str) -> Iterator[_Listed]:
    """The models of a list, in whatever form it has; of Deepgram's, those of this kind."""
    if isinstance(answer, Mapping) and ("stt" in answer or "tts" in answer):
        part = answer.get("stt" if kind == "speech to text" else "tts")
        fields = ("canonical_name", "architecture") if kind == "speech to text" else ("canonical_name",)
        yield from _entries(part, fields)
    elif isinstance(answer, Mapping):
        yield from _entries(answer.get("data") or answer.get("models"), ("id", "name", "model", "aliases"))
    else:  # Together's is a bare list (https://docs.together.ai/reference/models-1)
        yield from _entries(answer, ("id",))


def _entries(items: Any, fields: Iterable[str]) -> Iterator[_Listed]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, str):
            item = {"id": item}
        if not isinstance(item, Mapping):
            continue
        names = [name for field in fields for name in _texts(item.get(field))]
        if names:
            instead = next(iter(_texts(item.get("deprecation_replacement_model"))), "")
            yield _Listed(frozenset(names), _end(item), instead)


def _texts(value: Any) -> Iterator[str]:
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and 0 < len(text) <= LONGEST_NAME and text.isprintable():
            yield mended(text)


def _end(item: Mapping[str, Any]) -> str:
    deprecation = item.get("deprecation")
    if isinstance(deprecation, Mapping):
        deprecation = deprecation.get("inference")
    days = (_day(value) for value in (item.get("shutdown_date"), deprecation, item.get("expiration_date")))
    return next(filter(None, days), "")


def _day(value: Any) -> str:
    """A day of a text (ISO 8601, with or without its time) or of a Unix time; empty where it is neither."""
    if isinstance(value, str) and (day := _DAY.match(value)):
        return day[0]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LAST_SECOND:
        return _civil(int(value) // 86400)
    return ""


def _civil(days: int) -> str:
    """The day so many days after 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms")."""
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return f"{year + era * 400 + (month <= 2):04}-{month:02}-{of_year - (153 * shifted + 2) // 5 + 1:02}"


def _names_are_the_users(answer: Any) -> bool:
    """Whether requests name what the user has called a model, and not what is listed: Azure's deployments."""
    items = answer.get("data") if isinstance(answer, Mapping) else None
    return isinstance(items, list) and any(isinstance(item, Mapping) and "lifecycle_status" in item for item in items)
