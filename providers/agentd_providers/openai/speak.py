"""Text to speech by OpenAI, or by a server that speaks its language: a request for each clause, its audio as it comes.

https://platform.openai.com/docs/api-reference/audio/createSpeech. Of servers of one's own many give another rate than
OpenAI's as pcm, and tell it nowhere: the header of a wav does.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import attrs

from agentd.agent import Readiness
from agentd.audio.resample import RATES, Resampler
from agentd.errors import ProviderProtocolError
from agentd_providers.credentials import Scheme
from agentd_providers.openai.speech_settings import OpenAiSpeakSettings, SpeechFormat
from agentd_providers.openai.wav import WavReader
from agentd_providers.pipeline.stages import Voice
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.http import Answer, VendorHttp, use_vendor_http
from agentd_providers.vendor.speech import Decoder, speech
from agentd_providers.vendor.text_limit import pieces_of

VENDOR = "OpenAI"
LONGEST_TEXT = 600
"""Characters asked for at once, some 40 s; OpenAI takes 4096."""
MOST_BYTES = 90 * 24000 * 2
"""Audio of one request: a minute and a half at the usual rate."""


@attrs.define(eq=False)
class WavDecoder:
    """From a WAV file's bytes to slin at `rate` Hz. See agentd_providers.vendor.speech.Decoder."""

    vendor: str
    rate: int
    _wav: WavReader = attrs.field(init=False)
    _resampler: Resampler | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._wav = WavReader(self.vendor)

    def feed(self, data: bytes) -> bytes:
        samples = self._wav.feed(data)
        if not samples:
            return b""
        if self._resampler is None:
            if self._wav.rate not in RATES:
                raise ProviderProtocolError(f"{self.vendor}: audio at {self._wav.rate} Hz, expected one of {RATES}")
            self._resampler = Resampler(self._wav.rate, self.rate)
        return self._resampler.feed(samples)

    def flush(self) -> bytes:
        return b"" if self._resampler is None else self._resampler.flush()


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
        if settings.instructions:
            body["instructions"] = settings.instructions

        def ask(part: str) -> tuple[Answer, Decoder]:
            answer = self._http.post("audio/speech", limit=MOST_BYTES, json={**body, "input": part})
            return answer, self._decoder(rate)

        async with aclosing(speech(pieces_of(text, LONGEST_TEXT), ask)) as audio:
            yield audio

    def _decoder(self, rate: int) -> Decoder:
        if self.settings.response_format is SpeechFormat.WAV:
            return WavDecoder(VENDOR, rate)
        return Resampler(self.settings.pcm_rate, rate)


@asynccontextmanager
async def open_openai_speak(
    settings: OpenAiSpeakSettings, _language: str, shared: SharedServices
) -> AsyncIterator[OpenAiVoice]:
    """The server's text to speech; it speaks the language of the text. Raises ConfigError where the key is missing."""
    async with use_vendor_http(
        shared, VENDOR, settings.base_url, settings.api_key_name, Scheme.BEARER, settings.timeout
    ) as http:
        yield OpenAiVoice(settings, http)
