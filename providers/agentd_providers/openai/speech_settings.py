"""The settings of speech to text and text to speech by OpenAI, or by a server that speaks its language. Imports no
engine."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import attrs

from agentd import deadlines
from agentd.audio.resample import RATES
from agentd.config.schema import http_url, positive, secret_name, text
from agentd_providers.credentials import lack_of_key
from agentd_providers.model_names import (
    ONLY_IN_REALTIME,
    SPEECH_ENDS,
    TRANSCRIBE,
    ending,
    misplaced,
    served_by,
)
from agentd_providers.openai.chat_settings import API, DOMAIN


class SpeechFormat(StrEnum):
    WAV = "wav"
    PCM = "pcm"


def _rate(value: int) -> str | None:
    return None if value in RATES else f"must be one of {', '.join(map(str, RATES))}"


@attrs.frozen
class OpenAiListenSettings:
    """Speech to text by an OpenAI-compatible server (/audio/transcriptions)."""

    api_key_name: Annotated[
        str, text("Environment variable or credential that holds the server's key; empty: no key.", secret_name)
    ] = "OPENAI_API_KEY"
    base_url: Annotated[str, text("The server: OpenAI, or your own (http://host:port/v1).", http_url)] = f"{API}/v1"
    model: Annotated[str, text("The server's name for the model.")] = TRANSCRIBE
    prompt: Annotated[str, text("Words to listen for, in a sentence; empty: none.")] = ""
    timeout: Annotated[
        float, text("Seconds that the words of a turn are waited for.", positive, deadlines.STAGE_TIMEOUT.check)
    ] = 5.0

    def impossible(self, _language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        yield from lack_of_key(self.api_key_name, self.base_url, DOMAIN)
        if served_by(DOMAIN, self.base_url):
            yield from misplaced("model", self.model, "speech to text")
            if self.model in ONLY_IN_REALTIME:
                yield "model", f"OpenAI has {self.model!r} in Realtime sessions only: {TRANSCRIBE!r} is one for turns"

    def ending(self, today: str) -> Iterator[tuple[str, str]]:
        """Names that will end, as (setting, why)."""
        if served_by(DOMAIN, self.base_url):
            yield from ending("model", self.model, today)


@attrs.frozen
class OpenAiSpeakSettings:
    """Text to speech by an OpenAI-compatible server (/audio/speech)."""

    api_key_name: Annotated[
        str, text("Environment variable or credential that holds the server's key; empty: no key.", secret_name)
    ] = "OPENAI_API_KEY"
    base_url: Annotated[str, text("The server: OpenAI, or your own (http://host:port/v1).", http_url)] = f"{API}/v1"
    model: Annotated[
        str,
        text(
            "The server's name for the model; empty: the server's own default. OpenAI's own speech ends on "
            f"{SPEECH_ENDS}, without a successor."
        ),
    ] = ""
    voice: Annotated[str, text("The server's name for the voice.")] = "alloy"
    instructions: Annotated[str, text("How to speak, for models that take it; empty: nothing said about it.")] = ""
    response_format: Annotated[SpeechFormat, text("wav (tells its rate) or pcm (16 bits at pcm_rate).")] = (
        SpeechFormat.WAV
    )
    pcm_rate: Annotated[int, text("Hz of the server's pcm; OpenAI's is 24000.", _rate)] = 24000
    timeout: Annotated[
        float,
        text("Seconds that the server may be silent, before and in a clause.", positive, deadlines.STAGE_TIMEOUT.check),
    ] = 5.0

    def impossible(self, _language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        yield from lack_of_key(self.api_key_name, self.base_url, DOMAIN)
        if served_by(DOMAIN, self.base_url):
            yield from misplaced("model", self.model, "speech")
            if not self.model:
                why = f"OpenAI's own speech ends on {SPEECH_ENDS}, without a successor, so there is no default"
                yield "model", f"must name one: {why}; local, deepgram and wyoming speak, too"

    def ending(self, today: str) -> Iterator[tuple[str, str]]:
        """Names that will end, as (setting, why)."""
        if served_by(DOMAIN, self.base_url):
            yield from ending("model", self.model, today)
