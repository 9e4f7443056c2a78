"""The settings of Deepgram's speech to text and text to speech. Imports no engine."""

from collections.abc import Iterator
from typing import Annotated

import attrs

from agentd import deadlines
from agentd.config.schema import http_url, positive, secret_name, text
from agentd_providers.credentials import lack_of_key
from agentd_providers.deepgram.names import DOMAIN, listening, speaking
from agentd_providers.model_names import DEEPGRAM_LISTEN, DEEPGRAM_VOICE

API = "https://api.deepgram.com"


@attrs.frozen
class DeepgramListenSettings:
    """Speech to text by Deepgram, live over a WebSocket."""

    api_key_name: Annotated[
        str, text("Environment variable or credential that holds Deepgram's key; empty: no key.", secret_name)
    ] = "DEEPGRAM_API_KEY"
    base_url: Annotated[str, text("Deepgram's API, or a Deepgram server of your own.", http_url)] = API
    model: Annotated[str, text("Deepgram's name for the model.")] = DEEPGRAM_LISTEN
    keyterms: Annotated[list[str], text("Words to listen for: names, products (nova-3 only).")] = attrs.field(
        factory=list
    )
    connect_timeout: Annotated[
        float, text("Seconds that opening the connection may take.", positive, deadlines.STAGE_CONNECT.check)
    ] = 3.0
    timeout: Annotated[
        float,
        text("Seconds that the last words before a pause are waited for.", positive, deadlines.STAGE_TIMEOUT.check),
    ] = 1.5

    def impossible(self, _language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        yield from lack_of_key(self.api_key_name, self.base_url, DOMAIN)
        for why in listening(self.model, self.keyterms):
            yield "model", why


@attrs.frozen
class DeepgramSpeakSettings:
    """Text to speech by Deepgram."""

    api_key_name: Annotated[
        str, text("Environment variable or credential that holds Deepgram's key; empty: no key.", secret_name)
    ] = "DEEPGRAM_API_KEY"
    base_url: Annotated[str, text("Deepgram's API, or a Deepgram server of your own.", http_url)] = API
    voice: Annotated[str, text("Deepgram's name for the voice, which speaks one language.")] = DEEPGRAM_VOICE
    timeout: Annotated[
        float,
        text("Seconds that Deepgram may be silent, before and in a clause.", positive, deadlines.STAGE_TIMEOUT.check),
    ] = 4.0

    def impossible(self, language: str) -> Iterator[tuple[str, str]]:
        """Settings that cannot work together, as (setting, why)."""
        yield from lack_of_key(self.api_key_name, self.base_url, DOMAIN)
        for why in speaking(self.voice):
            yield "voice", why
        if not _speaks(self.voice, language):
            yield "voice", f"{self.voice!r} does not speak the agent's language, which is {language!r}"


def _speaks(voice: str, language: str) -> bool:
    """Whether a voice of Deepgram's speaks a language; its name ends in it, aura-2-thalia-en
    (https://developers.deepgram.com/docs/tts-models)."""
    spoken = voice.rpartition("-")[2].lower()
    return len(spoken) != 2 or spoken == language.lower()[:2]
