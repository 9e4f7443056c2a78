"""The settings of a language model that an OpenAI-compatible server runs. Imports no engine."""

from collections.abc import Iterator
from typing import Annotated

import attrs

from agentd import deadlines
from agentd.config.schema import http_url, not_negative, positive, secret_name, text
from agentd_providers.credentials import lack_of_key
from agentd_providers.model_names import CHAT, ending, misplaced, served_by

API = "https://api.openai.com"
DOMAIN = "openai.com"
"""OpenAI's own, with the hosts of its regions."""


@attrs.frozen
class ChatSettings:
    """The language model: OpenAI, or any server that speaks its language (vLLM, Ollama, llama.cpp, LM Studio)."""

    api_key_name: Annotated[
        str, text("Environment variable or credential that holds the server's key; empty: no key.", secret_name)
    ] = "OPENAI_API_KEY"
    base_url: Annotated[str, text("The server: OpenAI, or your own (http://host:port/v1).", http_url)] = f"{API}/v1"
    model: Annotated[str, text("The server's name for the model.")] = CHAT
    temperature: Annotated[
        float, text("Randomness of the words; below 0: the server's own (reasoning models take no other).")
    ] = -1.0
    max_tokens: Annotated[int, text("Longest reply in tokens, with what the model thinks.", positive)] = 300
    context: Annotated[
        int,
        text(
            "Tokens that the model reads and writes in one request; longer conversations lose their oldest turns. "
            "0: as the server tells when it refuses one; set it for Ollama (its num_ctx), which cuts without a word.",
            not_negative,
        ),
    ] = 0
    reasoning_effort: Annotated[
        str,
        text(
            "For reasoning models: how much they think (none, minimal, low ...); empty: nothing said about it. "
            "OpenAI's newer ones take tools with none only."
        ),
    ] = ""
    timeout: Annotated[
        float,
        text("Seconds that the server may be silent, before and in a reply.", positive, deadlines.STAGE_TIMEOUT.check),
    ] = 5.0

    def impossible(self, _language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        yield from lack_of_key(self.api_key_name, self.base_url, DOMAIN)
        if served_by(DOMAIN, self.base_url):
            yield from misplaced("model", self.model, "chat")

    def ending(self, today: str) -> Iterator[tuple[str, str]]:
        """Names that will end, as (setting, why)."""
        if served_by(DOMAIN, self.base_url):
            yield from ending("model", self.model, today)
