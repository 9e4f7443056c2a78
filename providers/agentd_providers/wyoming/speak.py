"""Text to speech by a Wyoming server: each clause a plain `synthesize`, on a connection that is kept for the call.

The protocol's streaming of text is not used: wyoming-piper holds a sentence back until the next word comes, and answers
no plain request any more on a connection that has once streamed. To give a clause up is to close its connection.
Source: https://github.com/OHF-Voice/wyoming (README, "Event Flow", "Text to Speech").
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
import structlog
import trio

from agentd.agent import Readiness
from agentd.audio.resample import Resampler
from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd_providers.pipeline.stages import TextToSpeech, Voice, speak_whole
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming.connection import WyomingConnection, connect
from agentd_providers.wyoming.info import find, spelling
from agentd_providers.wyoming.protocol import AudioFormat, Event, audio_format, synthesize
from agentd_providers.wyoming.settings import WyomingSpeakSettings
from agentd_providers.wyoming.watch import WyomingWatch, watch_server

log = structlog.get_logger("agentd_providers.wyoming")

MOST_SECONDS = 90
"""Audio that one clause may have."""
MOST_WAITED = 120.0
"""Seconds that the server may be waited for in one clause, all in all."""
SLICE = 8192
"""Bytes of audio that are converted at a time: nobody else on the loop is served meanwhile."""
WARM_UP = "Hello."
WARM_UP_RATE = 8000


@attrs.define(eq=False)
class WyomingSpeak:
    """An engine of text to speech: see agentd_providers.pipeline.stages.TextToSpeech."""

    settings: WyomingSpeakSettings
    language: str
    watch: WyomingWatch

    @property
    def readiness(self) -> Readiness:
        return self.watch.readiness_for(self.lacks())

    def lacks(self) -> str:
        """The models that we need and the server, as far as it told, does not have; empty if it has all."""
        if (info := self.watch.info) is None or find(info.tts, self.settings.voice, self.language) is not None:
            return ""
        voice = f"voice {self.settings.voice!r}" if self.settings.voice else "voice"
        return f"{self.settings.uri}: has no {voice} for the language {self.language!r}"

    @property
    def wanted(self) -> dict[str, str]:
        """The voice as a request names it."""
        settings = self.settings
        if settings.voice:
            return {"name": settings.voice} | ({"speaker": settings.speaker} if settings.speaker else {})
        info = self.watch.info
        offer = find(info.tts, "", self.language) if info is not None else None
        return {"language": (spelling(offer, self.language) if offer is not None else "") or self.language}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Voice]:
        """See agentd_providers.pipeline.stages.TextToSpeech.open. No server is needed for it, only to speak."""
        voice = WyomingVoice(self)
        try:
            yield voice
        finally:
            voice.close()


@attrs.define(eq=False)
class WyomingVoice:
    """One call's. Clauses that are spoken at the same time have a connection each; one of them is kept."""

    engine: WyomingSpeak
    _kept: WyomingConnection | None = attrs.field(default=None, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See agentd_providers.pipeline.stages.Voice.speak."""
        engine = self.engine
        with _suspicious(engine.watch):
            connection, first = await self._ask(text)
        pieces = _Pieces(connection, engine.watch, rate, engine.settings.timeout)
        try:
            pieces.take_format_or_end(first)
            yield pieces
        finally:
            if pieces.complete and not self._closed and self._kept is None and connection.at_rest:
                self._kept = connection
            else:
                connection.close()

    def close(self) -> None:
        """Close what is kept; a clause that is still being spoken leaves nothing either."""
        self._closed = True
        if self._kept is not None:
            kept, self._kept = self._kept, None
            kept.close()

    async def _ask(self, text: str) -> tuple[WyomingConnection, Event]:
        """Send the request; gives the connection and the answer's first event."""
        settings = self.engine.settings
        if (kept := self._take_kept()) is not None:
            try:
                first = await self._begin(kept, text)
            except ProviderUnavailable as error:
                if not kept.gone:
                    raise
                # A server may close a connection that was idle for long.
                log.debug("Wyoming connection is opened again", error=str(error))
            else:
                if first.type == "audio-start" or not text.strip():
                    return kept, first
                # It may be left over from the clause before: then all clauses to come would have their neighbours'
                # answers. A text that cannot be spoken is asked for twice.
                kept.close()
                log.debug("Wyoming connection is opened again", error="a clause without sound")
        fresh = await connect(settings.uri, settings.connect_timeout)
        return fresh, await self._begin(fresh, text)

    def _take_kept(self) -> WyomingConnection | None:
        """The connection that is kept, unless something has come on it that belongs to no request, such as its end."""
        kept, self._kept = self._kept, None
        if kept is None or kept.at_rest:
            return kept
        kept.close()
        log.debug("Wyoming connection is opened again", error="something came after an answer, or it was closed")
        return None

    async def _begin(self, connection: WyomingConnection, text: str) -> Event:
        timeout = self.engine.settings.timeout
        try:
            await connection.send(synthesize(text, self.engine.wanted), timeout)
            return await connection.expect("audio-start", "audio-stop", deadline=timeout)
        except BaseException:  # cancelled too: nobody else knows of the connection
            connection.close()
            raise


@contextmanager
def _suspicious(watch: WyomingWatch) -> Iterator[None]:
    """Have the watch look after the server when it fails."""
    try:
        yield
    except ProviderUnavailable:
        watch.suspect()
        raise


@attrs.define(eq=False)
class _Pieces:
    """A clause's sound, iterated once. `complete`: all of it has come, so the connection can be used again.

    The wait for the server is bounded for each piece of sound, whatever else comes, and for all of them.
    """

    _connection: WyomingConnection
    _watch: WyomingWatch
    _rate: int
    _timeout: float
    complete: bool = attrs.field(default=False, init=False)
    _audio: AudioFormat = attrs.field(default=AudioFormat(WARM_UP_RATE), init=False)
    """As the last audio-start told."""
    _odd: bytes = attrs.field(default=b"", init=False, repr=False)
    """Half a sample, or some channels' of one."""
    _resampler: Resampler | None = attrs.field(default=None, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)
    _waited: float = attrs.field(default=0.0, init=False)
    _chunk: bytes = attrs.field(default=b"", init=False, repr=False)
    """Sound that has come and is not converted yet."""

    def __aiter__(self) -> "_Pieces":
        return self

    async def __anext__(self) -> bytes:
        until = trio.current_time() + self._timeout
        while self._chunk or not self.complete:
            if self._chunk:
                await trio.lowlevel.checkpoint()
                pcm = self._next_slice()
            elif (event := await self._receive(until)).type == "audio-chunk":
                self._take_chunk(event)
                continue
            else:
                pcm = self.take_format_or_end(event)
            if pcm:
                return pcm
        raise StopAsyncIteration

    async def _receive(self, until: float) -> Event:
        began = trio.current_time()
        with _suspicious(self._watch):
            if self._waited > MOST_WAITED:
                raise ProviderUnavailable(f"{self._connection.peer}: not done with a clause after {MOST_WAITED:g} s")
            try:
                return await self._connection.expect(
                    "audio-start", "audio-chunk", "audio-stop", deadline=self._timeout, until=until
                )
            finally:
                self._waited += trio.current_time() - began

    def take_format_or_end(self, event: Event) -> bytes:
        """Take an audio-start or audio-stop; gives what was still to come of the audio before. Raises
        ProviderProtocolError."""
        rest = self._resampler.flush() if self._resampler is not None else b""
        if event.type == "audio-stop":
            self.complete = True
        else:
            self._audio, self._odd = self._format(event), b""
            self._resampler = Resampler(self._audio.rate, self._rate)
        return rest

    def _take_chunk(self, event: Event) -> None:
        audio = self._format(event)
        if self._resampler is None or audio != self._audio:
            raise ProviderProtocolError(f"{self._connection.peer}: audio of {audio} that no audio-start has told")
        self._seconds += len(event.payload) / audio.block / audio.rate
        if self._seconds > MOST_SECONDS:
            raise ProviderProtocolError(f"{self._connection.peer}: speaks one clause for more than {MOST_SECONDS} s")
        self._chunk = event.payload

    def _next_slice(self) -> bytes:
        data, self._chunk = self._odd + self._chunk[:SLICE], self._chunk[SLICE:]
        assert self._resampler is not None
        whole = len(data) - len(data) % self._audio.block
        self._odd = data[whole:]
        return self._resampler.feed(self._audio.slin(data[:whole]))

    def _format(self, event: Event) -> AudioFormat:
        with self._connection.blaming():
            return audio_format(event)


@asynccontextmanager
async def open_wyoming_speak(
    settings: WyomingSpeakSettings, language: str, shared: SharedServices
) -> AsyncIterator[TextToSpeech]:
    """The engine. A server that cannot be reached now is looked for while the block runs: `readiness` tells.

    Raises ProviderRejected when the server has not the voice, or none for the language (BCP 47).
    """
    async with watch_server(settings.uri, settings.connect_timeout, shared) as watch:
        engine = WyomingSpeak(settings, language, watch)
        if lack := engine.lacks():
            raise ProviderRejected(lack)
        await _warm_up(engine)
        yield engine


async def _warm_up(engine: WyomingSpeak) -> None:
    """Have the server load the voice: wyoming-piper does so at the first request, and the first caller would wait."""
    if not engine.readiness.ready:
        return
    try:
        async with engine.open() as voice:
            await speak_whole(voice, WARM_UP, WARM_UP_RATE)
    except ProviderRejected:
        raise
    except ProviderError as error:
        log.warning("Wyoming server could not speak at once", server=engine.settings.uri, error=str(error))
