"""Text to speech by Deepgram: a request for each clause, its audio as it comes.

https://developers.deepgram.com/reference/text-to-speech-api/speak, docs/text-to-speech (limits) and
docs/tts-media-output-settings (what can be asked for).
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import attrs

from agentd.agent import Readiness
from agentd_providers.credentials import Scheme
from agentd_providers.deepgram.speech_settings import DeepgramSpeakSettings
from agentd_providers.pipeline.stages import Voice
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.audio_body import AudioBody
from agentd_providers.vendor.http import Answer, VendorHttp, use_vendor_http
from agentd_providers.vendor.speech import speech
from agentd_providers.vendor.text_limit import pieces_of

VENDOR = "Deepgram"
RATES = (8000, 16000, 24000, 32000, 48000)
"""The rates in Hz that Deepgram speaks linear16 at; audio of others is made of the 24000."""
LONGEST_TEXT = 600
"""Characters asked for at once, some 40 s; the least of the limits that Deepgram's pages name is 1000."""
MOST_SECONDS = 90
"""Audio of one request."""


@attrs.frozen(eq=False)
class DeepgramVoice:
    """See agentd_providers.pipeline.stages.TextToSpeech and Voice: calls share the engine's connections."""

    settings: DeepgramSpeakSettings
    _http: VendorHttp

    @property
    def readiness(self) -> Readiness:
        return self._http.access.readiness

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Voice]:
        """See pipeline.stages.TextToSpeech.open. Nothing is asked of Deepgram before there is something to say."""
        yield self

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See agentd_providers.pipeline.stages.Voice.speak."""
        asked = rate if rate in RATES else 24000
        params = {"model": self.settings.voice, "encoding": "linear16", "container": "none", "sample_rate": asked}

        def ask(part: str) -> tuple[Answer, AudioBody]:
            limit = MOST_SECONDS * asked * 2
            answer = self._http.post("/v1/speak", limit=limit, params=params, json={"text": part})
            return answer, AudioBody(VENDOR, rate, asked, limit)

        async with aclosing(speech(pieces_of(text, LONGEST_TEXT), ask)) as audio:
            yield audio


@asynccontextmanager
async def open_deepgram_speak(
    settings: DeepgramSpeakSettings, _language: str, shared: SharedServices
) -> AsyncIterator[DeepgramVoice]:
    """Deepgram's text to speech; the language is the voice's own. Raises ConfigError where the key is missing."""
    async with use_vendor_http(
        shared, VENDOR, settings.base_url, settings.api_key_name, Scheme.TOKEN, settings.timeout
    ) as http:
        yield DeepgramVoice(settings, http)
