"""Speech to text by Deepgram: one WebSocket a call, which hears the caller's turns live.

https://developers.deepgram.com/reference/speech-to-text-api/listen-streaming (the parameters of a connection).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlencode

import attrs
import trio

from agentd.agent import Readiness
from agentd.errors import ProviderError, ungrouped
from agentd_providers.deepgram.listen_messages import VENDOR, language_code
from agentd_providers.deepgram.live import DeepgramLine
from agentd_providers.deepgram.speech_settings import DeepgramListenSettings
from agentd_providers.pipeline.stages import Transcriber
from agentd_providers.shared import SharedServices
from agentd_providers.vendor.access import VendorAccess, find_key


@attrs.define(eq=False)
class DeepgramSpeechToText:
    """See agentd_providers.pipeline.stages.SpeechToText. `language` as Deepgram calls it."""

    settings: DeepgramListenSettings
    language: str
    shared: SharedServices = attrs.field(repr=False)
    access: VendorAccess
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)

    @property
    def readiness(self) -> Readiness:
        return self.access.readiness

    @asynccontextmanager
    async def open(self, rate: int) -> AsyncIterator[Transcriber]:
        """See agentd_providers.pipeline.stages.SpeechToText.open: the connection is open when the block is entered."""
        settings = self.settings
        line = DeepgramLine(
            self._url(rate),
            self.headers,
            rate,
            settings.connect_timeout,
            settings.timeout,
            self.access,
            partial(self.shared.on_unknown, "deepgram"),
        )
        with ungrouped(ProviderError):
            async with trio.open_nursery() as nursery:
                await nursery.start(line.run)
                yield line
                nursery.cancel_scope.cancel()

    def _url(self, rate: int) -> str:
        """Of a connection for slin at `rate` Hz."""
        query = {
            "model": self.settings.model,
            "language": self.language,
            "encoding": "linear16",
            "sample_rate": rate,
            "channels": 1,
            "interim_results": "true",
            "punctuate": "true",
            "endpointing": "false",  # we say when the caller pauses
            "keyterm": self.settings.keyterms,
        }
        return f"ws{self.settings.base_url.removeprefix('http').rstrip('/')}/v1/listen?{urlencode(query, doseq=True)}"


@asynccontextmanager
async def open_deepgram_listen(
    settings: DeepgramListenSettings, language: str, shared: SharedServices
) -> AsyncIterator[DeepgramSpeechToText]:
    """Deepgram's speech to text for callers who speak `language`. Raises ConfigError where the key is missing."""
    key = find_key(settings.api_key_name, VENDOR)
    headers = (("Authorization", f"Token {key}"),) if key else ()
    yield DeepgramSpeechToText(settings, language_code(language), shared, VendorAccess(), headers)
