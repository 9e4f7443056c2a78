"""Speech to text by a Wyoming server.

A turn of the caller is a connection of its own, which is open by the time that words are asked for. Wyoming ends an
utterance with audio-stop and answers once: if the caller goes on after a pause, a fresh connection gets the turn again,
but for what was understood before a long pause. Partial transcripts are not used: no server that is in use sends any.
Source: https://github.com/OHF-Voice/wyoming (README, "Event Flow"); wyoming-faster-whisper closes the connection after
the transcript, others do not: so the client does.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import structlog
import trio

from agentd.agent import Readiness
from agentd.audio.resample import Resampler
from agentd.errors import ProviderError, ProviderRejected, ProviderUnavailable
from agentd_providers.pipeline.stages import SpeechToText, Transcriber, Transcript
from agentd_providers.shared import SharedServices
from agentd_providers.wyoming.connection import WyomingConnection, open_connection
from agentd_providers.wyoming.info import find, spelling
from agentd_providers.wyoming.protocol import (
    AudioFormat,
    audio_chunk,
    audio_start,
    audio_stop,
    text_of,
    transcribe,
)
from agentd_providers.wyoming.settings import WyomingListenSettings
from agentd_providers.wyoming.watch import WyomingWatch, watch_server

log = structlog.get_logger("agentd_providers.wyoming")

RATE = 16000
"""The format that every server takes."""
BLOCK = RATE // 10 * 2
"""Bytes that are sent at a time while the caller speaks: 100 ms."""
LARGEST_CHUNK = RATE * 2
SETTLED_SECONDS = 5
"""Speech before a pause that is not sent again when the turn goes on: it would take longer each time."""
GOES_ON_SECONDS = 1.0
"""Audio after a pause from which on the caller seems to go on: then it is sent before words are asked for again."""
MOST_SECONDS = 60
"""The longest that is sent as one utterance; what a caller says beyond it without a pause is left out."""


@attrs.define(eq=False)
class WyomingListen:
    """An engine of speech to text: see agentd_providers.pipeline.stages.SpeechToText."""

    settings: WyomingListenSettings
    language: str
    watch: WyomingWatch

    @property
    def readiness(self) -> Readiness:
        return self.watch.readiness_for(self.lacks())

    def lacks(self) -> str:
        """The models that we need and the server, as far as it told, does not have; empty if it has all."""
        if (info := self.watch.info) is None or find(info.asr, self.settings.model, self.language) is not None:
            return ""
        model = f" by the model {self.settings.model!r}" if self.settings.model else ""
        return f"{self.settings.uri}: has no speech to text{model} for the language {self.language!r}"

    @property
    def spoken(self) -> str:
        """The language as the server spells it."""
        info = self.watch.info
        offer = find(info.asr, self.settings.model, self.language) if info is not None else None
        return spelling(offer, self.language) if offer is not None else self.language.partition("-")[0]

    @asynccontextmanager
    async def open(self, rate: int) -> AsyncIterator[Transcriber]:
        """See agentd_providers.pipeline.stages.SpeechToText.open. No server is needed for it, only for the words."""
        async with trio.open_nursery() as nursery:
            yield WyomingTranscriber(self, rate, nursery)
            nursery.cancel_scope.cancel()


@attrs.frozen
class WyomingTranscriber:
    """One call's. Turns are sent by tasks of `nursery`."""

    engine: WyomingListen
    rate: int
    nursery: trio.Nursery

    def begin(self) -> Transcript:
        transcript = _WyomingTranscript(self, Resampler(self.rate, RATE))
        transcript.start_sending()
        return transcript


@attrs.define(eq=False)
class _WyomingTranscript:
    """One turn. `_pcm` is what the utterance that is being sent, or is to be sent next, consists of."""

    _call: WyomingTranscriber
    _resampler: Resampler
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    _settled: str = attrs.field(default="", init=False)
    _last: tuple[int, str] = attrs.field(default=(0, ""), init=False)
    """How much of `_pcm` was transcribed last, and what that says."""
    _utterance: "_Utterance | None" = attrs.field(default=None, init=False)
    _overflown: bool = attrs.field(default=False, init=False)

    def feed(self, pcm: bytes) -> None:
        heard = self._resampler.feed(pcm)
        room = MOST_SECONDS * RATE * 2 - len(self._pcm)
        if len(heard) > room and not self._overflown:
            self._overflown = True
            log.warning("a turn is too long for one utterance: the rest is left out", seconds=MOST_SECONDS)
        self._pcm += heard[:room]
        if self._utterance is not None:
            self._utterance.more()
        elif len(self._pcm) - self._last[0] > GOES_ON_SECONDS * RATE * 2:
            self.start_sending()

    async def words(self) -> str:
        if len(self._pcm) == self._last[0]:
            await trio.lowlevel.checkpoint()
            return self._all(self._last[1])
        engine = self._call.engine
        timeout = engine.settings.timeout
        try:
            with trio.fail_after(timeout):
                try:
                    return await self._ask()
                except _BrokenOff as error:  # while the caller spoke, as when a server is started again
                    log.debug("a turn is sent once more", error=str(error))
                return await self._ask()
        except trio.TooSlowError:
            engine.watch.suspect()
            raise ProviderUnavailable(f"{engine.settings.uri}: no transcript within {timeout:g} s") from None
        except ProviderUnavailable:
            engine.watch.suspect()
            raise

    def close(self) -> None:
        if self._utterance is not None:
            self._utterance.scope.cancel()
            self._utterance = None

    def start_sending(self) -> None:
        """Begin an utterance with the turn so far, but for what is settled."""
        self.close()
        length, said = self._last
        if length > SETTLED_SECONDS * RATE * 2:
            self._settled, self._last = self._all(said), (0, "")
            self._pcm, self._overflown = self._pcm[length:], False
        self._utterance = _Utterance(self._call.engine, self._pcm)
        self._call.nursery.start_soon(self._utterance.run)

    async def _ask(self) -> str:
        """The words of all there is. However it is left, the connection is closed."""
        if self._utterance is None or not self._utterance.open:
            self.start_sending()  # of what was sent while the caller spoke, nothing came
        utterance, length = self._utterance, len(self._pcm)
        assert utterance is not None
        try:
            said = await utterance.words(length)
        finally:
            utterance.scope.cancel()
            if self._utterance is utterance:
                self._utterance = None
        self._last = (length, said)
        return self._all(said)

    def _all(self, said: str) -> str:
        return f"{self._settled} {said}".strip()


class _BrokenOff(ProviderUnavailable):
    """The connection ended without any answer, or with one to less than the turn."""


@attrs.define(eq=False)
class _Utterance:
    """One connection: sends `pcm` as it grows, up to the length that words are asked at; then the server answers."""

    engine: WyomingListen
    pcm: bytearray
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _length: int | None = attrs.field(default=None, init=False)
    _grown: trio.Event = attrs.field(factory=trio.Event, init=False)
    _done: trio.Event = attrs.field(factory=trio.Event, init=False)
    _complete: bool = attrs.field(default=False, init=False)
    """All of it is sent: a transcript that comes now is one of all of it."""
    _words: str | None = attrs.field(default=None, init=False)
    _error: ProviderError | None = attrs.field(default=None, init=False)

    @property
    def open(self) -> bool:
        """Whether words can be asked for: not yet asked, and neither has the connection failed, nor has the server
        seen an end by itself."""
        return self._length is None and not self._done.is_set()

    def more(self) -> None:
        """`pcm` has grown."""
        self._grown.set()

    async def words(self, length: int) -> str:
        """The words of the first `length` bytes. Raises ProviderError."""
        self._length = length
        self._grown.set()
        await self._done.wait()
        if self._words is None:
            raise self._error or ProviderUnavailable(f"{self.engine.settings.uri}: the turn was given up")
        return self._words

    async def run(self) -> None:
        """Connect, send and receive. `words` raises what fails."""
        settings = self.engine.settings
        with self.scope:
            try:
                async with open_connection(settings.uri, settings.connect_timeout) as connection:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._send, connection, nursery.cancel_scope)
                        await self._receive(connection)
                        nursery.cancel_scope.cancel()
            except ProviderUnavailable as error:
                self._error = error
            finally:
                self._done.set()

    async def _receive(self, connection: WyomingConnection) -> None:
        try:
            # The bound of a turn bounds this; `words` has a deadline of its own.
            transcript = await connection.expect("transcript", deadline=MOST_SECONDS + self.engine.settings.timeout)
            if not self._complete:
                self._error = _BrokenOff(f"{connection.peer}: answered before the turn was complete")
                return
            with connection.blaming():
                self._words = " ".join(text_of(transcript).split())
        except ProviderUnavailable as error:
            self._error = _BrokenOff(str(error)) if connection.gone else error
        except ProviderError as error:
            self._error = error

    async def _send(self, connection: WyomingConnection, scope: trio.CancelScope) -> None:
        timeout, audio, sent = self.engine.settings.timeout, AudioFormat(RATE), 0
        try:
            await connection.send(transcribe(self.engine.spoken, self.engine.settings.model), timeout)
            await connection.send(audio_start(audio), timeout)
            while self._length is None or sent < self._length:
                ready = (len(self.pcm) if self._length is None else self._length) - sent
                if self._length is None and ready < BLOCK:
                    self._grown = trio.Event()
                    await self._grown.wait()
                    continue
                chunk = bytes(self.pcm[sent : sent + min(ready, LARGEST_CHUNK)])
                await connection.send(audio_chunk(audio, chunk), timeout)
                sent += len(chunk)
            self._complete = True
            await connection.send(audio_stop(), timeout)
        except ProviderUnavailable as error:
            if not connection.gone:  # else what the server said before it closed is the better reason
                self._error = error
                scope.cancel()


@asynccontextmanager
async def open_wyoming_listen(
    settings: WyomingListenSettings, language: str, shared: SharedServices
) -> AsyncIterator[SpeechToText]:
    """The engine. A server that cannot be reached now is looked for while the block runs: `readiness` tells.

    Raises ProviderRejected when the server has no speech to text for the language (BCP 47), or not the model.
    """
    async with watch_server(settings.uri, settings.connect_timeout, shared) as watch:
        engine = WyomingListen(settings, language, watch)
        if lack := engine.lacks():
            raise ProviderRejected(lack)
        yield engine
