"""Speech to text by OpenAI, or by a server that speaks its language: at every pause the turn so far is sent.

https://platform.openai.com/docs/api-reference/audio/createTranscription.
"""

import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from agentd.agent import Readiness
from agentd.errors import ProviderProtocolError
from agentd_providers.credentials import Scheme
from agentd_providers.model_names import LANGUAGES_ARE_LISTED
from agentd_providers.openai.speech_settings import OpenAiListenSettings
from agentd_providers.pipeline.stages import Transcriber, Transcript
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.http import VendorHttp, use_vendor_http
from agentd_providers.vendor.json_object import parse_object

VENDOR = "OpenAI"
SHORTEST_SECONDS = 0.2
"""Less than this says nothing, and OpenAI refuses less than 0.1 s."""
SETTLED_SECONDS = 5
"""Speech before a pause that is not sent again when the turn goes on: it would take longer each time."""
MOST_SECONDS = 300
"""Of a turn without a pause that settles it: what came first is left out then (25 MB is what a request may have)."""
LONGEST_ANSWER = 256 * 1024


@attrs.frozen(eq=False)
class OpenAiSpeechToText:
    """See pipeline.stages.SpeechToText: calls share the engine's connections. `language` as ISO 639-1 has it."""

    settings: OpenAiListenSettings
    language: str
    _http: VendorHttp

    @property
    def readiness(self) -> Readiness:
        return self._http.access.readiness

    @asynccontextmanager
    async def open(self, rate: int) -> AsyncIterator[Transcriber]:
        """See pipeline.stages.SpeechToText.open. Nothing is asked of the server before a caller has spoken."""
        yield OpenAiTranscriber(self, rate)

    async def transcribe(self, pcm: bytes, rate: int) -> str:
        """The words of slin at `rate` Hz. Raises ProviderError; cancelling gives them up."""
        listed = self.settings.model in LANGUAGES_ARE_LISTED
        language = {"languages[]": [self.language]} if listed else {"language": self.language}
        form: dict[str, str | list[str]] = {"model": self.settings.model, **language, "response_format": "json"}
        if self.settings.prompt:
            form["prompt"] = self.settings.prompt
        file = ("turn.wav", _wav(pcm, rate), "audio/wav")
        answer = self._http.post("audio/transcriptions", limit=LONGEST_ANSWER, data=form, files={"file": file})
        try:
            body = await answer.whole()
        finally:
            answer.leave()
        text = parse_object(VENDOR, body.decode("utf-8", "replace"), self._http.conceal).get("text")
        if not isinstance(text, str):
            raise ProviderProtocolError(f"{VENDOR}: expected a text, got {type(text).__name__}")
        return " ".join(text.split())


@attrs.frozen
class OpenAiTranscriber:
    """See agentd_providers.pipeline.stages.Transcriber."""

    engine: OpenAiSpeechToText
    rate: int

    def begin(self) -> Transcript:
        return _OpenAiTranscript(self.engine, self.rate)


@attrs.define(eq=False)
class _OpenAiTranscript:
    """Words are asked for at pauses, so what was fed up to then can be sent by itself: in a long turn the part before
    an earlier pause is not sent again. Positions are bytes since the turn began."""

    _engine: OpenAiSpeechToText
    _rate: int
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    """The part that is not settled."""
    _begin: int = attrs.field(default=0, init=False)
    """Position of `_pcm`."""
    _settled: str = attrs.field(default="", init=False)
    _known: tuple[int, int, str] = attrs.field(default=(0, 0, ""), init=False)
    """From where to where the words are known, and what they are."""

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm
        if (excess := len(self._pcm) - MOST_SECONDS * self._rate * 2) > 0:
            del self._pcm[:excess]
            self._begin += excess

    async def words(self) -> str:
        begin, end, said = self._known
        if begin == self._begin and end - begin > SETTLED_SECONDS * self._rate * 2:
            self._settled = f"{self._settled} {said}".strip()
            del self._pcm[: end - begin]
            self._begin = begin = end
            self._known = (end, end, "")
        begin, end, settled = self._begin, self._begin + len(self._pcm), self._settled
        if self._known[:2] == (begin, end):
            return f"{settled} {self._known[2]}".strip()
        if end - begin < SHORTEST_SECONDS * self._rate * 2:
            return settled
        said = await self._engine.transcribe(bytes(self._pcm), self._rate)
        if begin == self._begin and end > self._known[1]:  # another asker may have been faster
            self._known = (begin, end, said)
        return f"{settled} {said}".strip()

    def close(self) -> None:
        pass  # the server keeps nothing


def _wav(pcm: bytes, rate: int) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(rate)
            wav.writeframes(pcm)
        return file.getvalue()


@asynccontextmanager
async def open_openai_listen(
    settings: OpenAiListenSettings, language: str, shared: SharedServices
) -> AsyncIterator[OpenAiSpeechToText]:
    """The server's speech to text, for callers who speak `language`. Raises ConfigError where the key is missing."""
    async with use_vendor_http(
        shared, VENDOR, settings.base_url, settings.api_key_name, Scheme.BEARER, settings.timeout
    ) as http:
        yield OpenAiSpeechToText(settings, language.partition("-")[0].lower(), http)
