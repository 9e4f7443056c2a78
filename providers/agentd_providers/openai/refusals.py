"""What a chat server's refusal, or another failure of its client, means for who asked: with the server's reason, and
without secrets. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import openai

from agentd.errors import CallRejected, ProviderError, ProviderRejected, ProviderUnavailable
from agentd.parsing import mended
from agentd.telltales import HIDDEN, looks_secret
from agentd_providers.openai.context import refused_length

SHOWN = 200
"""Characters of a server's text that an error repeats."""
READ = 4000
"""Characters of it that are looked at."""
FLEETING = re.compile(r"\b(429|5\d\d)\b|server|overload|rate.?limit|unavailable|timeout|capacity|upstream|busy")
"""In the code or type of an error: another time it may be none."""
_WORD = re.compile(r"[^\s\"'`,;()<>{}\[\]]+")


def concealing(key: str) -> Callable[[str], str]:
    """Takes a key, and whatever looks like one, out of a server's words."""

    def conceal(text: str) -> str:
        if key:
            text = text.replace(key, HIDDEN)
        return _WORD.sub(lambda word: HIDDEN if len(word[0]) > 15 and _is_key(word[0]) else word[0], text)

    return conceal


def _is_key(word: str) -> bool:
    return "/" not in word and "_" not in word.strip("_") and looks_secret(word)


def words_of(body: Any) -> str:
    """A server's own words in the body of a refusal, or in an error: OpenAI's `message`; FastAPI's `detail` (vLLM,
    Mistral); what a gateway repeats of the vendor behind it (`metadata.raw`: OpenRouter). Empty where it has none."""
    if isinstance(body, list) and body and isinstance(body[0], Mapping):
        body = body[0]
    if isinstance(body, Mapping) and isinstance(inner := body.get("error"), Mapping | str):
        body = inner
    if isinstance(body, str):
        return mended(body[:READ])
    if not isinstance(body, Mapping):
        return ""
    said = [body.get("message"), body.get("detail"), body.get("msg")]
    if isinstance(metadata := body.get("metadata"), Mapping):
        said.append(metadata.get("raw"))
    return mended(" ".join(text for part in said if (text := _text(part)))[:READ])


def _text(part: Any) -> str:
    match part:
        case str():
            return part
        case list():
            return "; ".join(filter(None, map(_text, part[:5])))
        case {"msg": str(message), **rest}:
            at = rest.get("loc")
            named = ".".join(str(step) for step in at[:6]) if isinstance(at, list) else ""
            return f"{named}: {message}" if named else message
        case {"message": _} | {"error": _}:
            return words_of(part)
    return ""


def told_by(error: Any, conceal: Callable[[str], str]) -> str:
    """An error that a server tells of in its answer: its type, its code and its words, on one line."""
    fields = error if isinstance(error, Mapping) else {}
    kinds = [part for part in (fields.get("type"), fields.get("code")) if isinstance(part, str | int)]
    kind = " ".join(mended(str(part)) for part in kinds)
    words = " ".join(conceal(words_of(error)).split())
    return ": ".join(filter(None, (kind, words)))[:SHOWN] or "an error of its own"


def judged(error: openai.APIStatusError, conceal: Callable[[str], str]) -> ProviderError:
    """The error of ours that an answer of an error's status stands for."""
    shown = told(error, conceal)
    if refused_length(error.body) is not None:
        return CallRejected(
            f"the language model's server refused: {shown}: the conversation is longer than the model's context"
        )
    if isinstance(error, openai.InternalServerError | openai.RateLimitError):
        return ProviderUnavailable(f"the language model's server: {shown}")
    return ProviderRejected(f"the language model's server refused: {shown}")


def told(error: Exception, conceal: Callable[[str], str]) -> str:
    """The error, with the server's reason where it gives one. Who refuses a key repeats it, in part or whole: of that
    no words are shown."""
    match error:
        case openai.AuthenticationError():
            return f"HTTP {error.status_code}"
        case openai.APIStatusError():
            words = " ".join(conceal(words_of(error.body)).split())[:SHOWN]
            return f"HTTP {error.status_code}" + (f": {words}" if words else "")
        case openai.APIConnectionError() | ProviderUnavailable():
            return str(error)
        case _:
            return type(error).__name__
