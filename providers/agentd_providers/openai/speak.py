"""Text to speech by OpenAI, or by a server that speaks its language: a request for each clause, its audio as it comes.

https://platform.openai.com/docs/api-reference/audio/createSpeech. Of servers of one's own many give another rate than
OpenAI's as pcm, and tell it nowhere: the header of a wav does.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import attrs

from agentd.agent import Readiness
from agentd_providers.credentials import Scheme
from agentd_providers.openai.speech_settings import OpenAiSpeakSettings, SpeechFormat
from agentd_providers.pipeline.stages import Voice
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.audio_body import AudioBody
from agentd_providers.vendor.http import Answer, VendorHttp, use_vendor_http
from agentd_providers.vendor.speech import speech
from agentd_providers.vendor.text_limit import pieces_of

VENDOR = "OpenAI"
LONGEST_TEXT = 600
"""Characters asked for at once, some 40 s; OpenAI takes 4096."""
MOST_BYTES = 90 * 24000 * 2
"""Audio of one request: a minute and a half at the usual rate."""


@attrs.frozen(eq=False)
class OpenAiVoice:
    """See agentd_providers.pipeline.stages.TextToSpeech and Voice: calls share the engine's connections."""

    settings: OpenAiSpeakSettings
    _http: VendorHttp

    @property
    def readiness(self) -> Readiness:
        return self._http.access.readiness

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Voice]:
        """See pipeline.stages.TextToSpeech.open. Nothing is asked of the server before there is something to say."""
        yield self

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See agentd_providers.pipeline.stages.Voice.speak."""
        settings = self.settings
        body = {"voice": settings.voice, "response_format": settings.response_format.value}
        if settings.model:
            body["model"] = settings.model
        raw_rate = settings.pcm_rate if settings.response_format is SpeechFormat.PCM else 0
        if settings.instructions:
            body["instructions"] = settings.instructions

        def ask(part: str) -> tuple[Answer, AudioBody]:
            answer = self._http.post("audio/speech", limit=MOST_BYTES, json={**body, "input": part})
            return answer, AudioBody(VENDOR, rate, raw_rate, MOST_BYTES)

        async with aclosing(speech(pieces_of(text, LONGEST_TEXT), ask)) as audio:
            yield audio


@asynccontextmanager
async def open_openai_speak(
    settings: OpenAiSpeakSettings, _language: str, shared: SharedServices
) -> AsyncIterator[OpenAiVoice]:
    """The server's text to speech; it speaks the language of the text. Raises ConfigError where the key is missing."""
    async with use_vendor_http(
        shared, VENDOR, settings.base_url, settings.api_key_name, Scheme.BEARER, settings.timeout
    ) as http:
        yield OpenAiVoice(settings, http)
