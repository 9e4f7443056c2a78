"""The settings of Deepgram's speech to text and text to speech. Imports no engine."""

from typing import Annotated

import attrs

from agentd.config.schema import http_url, positive, secret_name, text


@attrs.frozen
class DeepgramListenSettings:
    """Speech to text by Deepgram, live over a WebSocket."""

    api_key_name: Annotated[
        str, text("Environment variable or credential that holds Deepgram's key; empty: no key.", secret_name)
    ] = "DEEPGRAM_API_KEY"
    base_url: Annotated[str, text("Deepgram's API, or a Deepgram server of your own.", http_url)] = (
        "https://api.deepgram.com"
    )
    model: Annotated[str, text("Deepgram's name for the model.")] = "nova-3"
    keyterms: Annotated[list[str], text("Words to listen for: names, products (nova-3 only).")] = attrs.field(
        factory=list
    )
    connect_timeout: Annotated[float, text("Seconds that opening the connection may take.", positive)] = 3.0
    timeout: Annotated[float, text("Seconds that the last words before a pause are waited for.", positive)] = 1.5


@attrs.frozen
class DeepgramSpeakSettings:
    """Text to speech by Deepgram."""

    api_key_name: Annotated[
        str, text("Environment variable or credential that holds Deepgram's key; empty: no key.", secret_name)
    ] = "DEEPGRAM_API_KEY"
    base_url: Annotated[str, text("Deepgram's API, or a Deepgram server of your own.", http_url)] = (
        "https://api.deepgram.com"
    )
    voice: Annotated[str, text("Deepgram's name for the voice, which speaks one language.")] = "aura-2-thalia-en"
    timeout: Annotated[float, text("Seconds that Deepgram may be silent, before and in a clause.", positive)] = 4.0
