"""What a chat server's refusal, or another failure of its client, means for who asked."""

import openai

from agentd.errors import CallRejected, ProviderError, ProviderRejected, ProviderUnavailable
from agentd_providers.openai.context import refused_length

SHOWN = 200
"""Characters of a server's text that an error repeats."""


def judged(error: openai.APIStatusError) -> ProviderError:
    """The error of ours that an answer of an error's status stands for."""
    if refused_length(error.body) is not None:
        return CallRejected(
            f"the language model's server refused: {told(error)}: the conversation is longer than the model's context"
        )
    if isinstance(error, openai.InternalServerError | openai.RateLimitError):
        return ProviderUnavailable(f"the language model's server: {told(error)}")
    return ProviderRejected(f"the language model's server refused: {told(error)}")


def told(error: Exception) -> str:
    """The error's kind, without the server's own words: they may repeat the key."""
    match error:
        case openai.APIStatusError():
            return f"HTTP {error.status_code}"
        case openai.APIConnectionError() | ProviderUnavailable():
            return str(error)
        case openai.APIError():
            parts = " ".join(part for part in (error.type, error.code) if isinstance(part, str))
            return parts[:SHOWN] or "an error of its own"
        case _:
            return type(error).__name__
