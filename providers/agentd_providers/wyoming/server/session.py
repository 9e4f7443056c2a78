"""One client of the speech server: its requests, one after the other, and their answers.

As Wyoming has it: events that are unknown, or of programs that we do not serve, are passed over; a client that streams
a text (synthesize-start and so on) sends the whole of it as `synthesize` too, for servers that do not take streams, and
that is what is answered. A request that fails is answered with `error`, which ends the connection.
Source: https://github.com/OHF-Voice/wyoming (README, "Event Flow"); wyoming-piper and wyoming-faster-whisper for what
the README leaves open: no audio-start is needed, and an empty text is answered with a lone audio-stop.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.errors import ProviderError, ProviderProtocolError, ProviderRejected, ProviderUnavailable
from agentd_providers.pipeline.stages import Transcript
from agentd_providers.turns.tags import without_tags
from agentd_providers.wyoming.connection import WyomingConnection
from agentd_providers.wyoming.info import Program, same_language
from agentd_providers.wyoming.protocol import (
    BUSY,
    FAILED,
    NOT_FOUND,
    REFUSED,
    SHOWN,
    AudioFormat,
    Event,
    audio_chunk,
    audio_format,
    audio_start,
    audio_stop,
    error,
    pong,
    text_of,
    transcript,
    voice_of,
)
from agentd_providers.wyoming.server.engines import Engines, Hearing, Speaking
from agentd_providers.wyoming.server.metrics import SpeechMetrics
from agentd_providers.wyoming.server.pool import NoCapacity
from agentd_providers.wyoming.server.settings import SpeechServerSettings

log = structlog.get_logger("agentd_providers.wyoming")

CHUNK = 8192
"""Bytes of audio in an event of ours."""
SLICE = 64 * 1024
"""Bytes of audio that are taken at a time: nobody else on the loop is served meanwhile."""
HIGHEST_RATE = 48000
"""Hz of what is taken: it bounds the memory that an utterance takes."""
LINGER = deadlines.SPEECH_LINGER.seconds


class _NotServed(ProviderRejected):
    """A request for something that this server does not have."""


class _RequestFailed(Exception):
    """A request cannot be answered; `code` and the message are for the client."""

    def __init__(self, engine: str, code: str, message: str) -> None:
        super().__init__(message)
        self.engine = engine
        self.code = code


@contextmanager
def _request(engine: str) -> Iterator[None]:
    """An error of a request's checks or of an engine ends the request. An error of sending or receiving does not belong
    in here: it ends the connection."""
    try:
        yield
    except NoCapacity as failure:
        raise _RequestFailed(engine, BUSY, str(failure)) from failure
    except _NotServed as failure:
        raise _RequestFailed(engine, NOT_FOUND, str(failure)) from failure
    except ProviderProtocolError as failure:
        raise _RequestFailed(engine, REFUSED, str(failure)) from failure
    except ProviderError as failure:
        # The reason may name files of this host, which are nobody else's business.
        log.error("a speech request failed", engine=engine, error=str(failure))
        raise _RequestFailed(engine, FAILED, "the engine failed") from failure


@attrs.define(eq=False)
class _Utterance:
    """Audio that is coming in. `until`: the monotonic second by which it must be complete; `admission`: what lets it
    in, where it is work already."""

    transcript: Transcript
    audio: AudioFormat
    until: float
    admission: ExitStack
    taken: int = 0
    odd: bytes = b""

    @property
    def seconds(self) -> float:
        return self.taken / self.audio.block / self.audio.rate

    def feed(self, data: bytes) -> None:
        self.taken += len(data)
        data = self.odd + data
        whole = len(data) - len(data) % self.audio.block
        self.odd = data[whole:]
        self.transcript.feed(self.audio.slin(data[:whole]))

    def close(self) -> None:
        self.transcript.close()
        self.admission.close()


@attrs.define(eq=False)
class SpeechSession:
    """Serves one connection. `ending` tells whether the server drains: then nothing new is begun."""

    connection: WyomingConnection
    settings: SpeechServerSettings
    engines: Engines
    metrics: SpeechMetrics
    ending: Callable[[], bool]
    _utterance: _Utterance | None = attrs.field(default=None, init=False)
    _answering: bool = attrs.field(default=False, init=False)

    @property
    def working(self) -> bool:
        """Whether a request is being made or answered."""
        return self._answering or self._utterance is not None

    async def run(self) -> None:
        """Answer requests until the client goes, or is idle for too long. Raises ProviderError when the client breaks
        the protocol, falls silent within a request, takes nothing, or its connection breaks."""
        while self.working or not self.ending():
            if (event := await self._next_event()) is None:
                return
            self._answering = True
            try:
                await self._answer(event)
            except _RequestFailed as failure:
                self.metrics.requests.labels(engine=failure.engine, outcome=failure.code).inc()
                log.info("speech request refused", peer=self.connection.peer, code=failure.code, why=str(failure))
                await self._send(error(str(failure), failure.code))
                await self._linger()
                return
            finally:
                self._answering = False

    def close(self) -> None:
        """Free what the engines keep of an utterance that was not finished."""
        if self._utterance is not None:
            self._utterance.close()
            self._utterance = None

    async def _next_event(self) -> Event | None:
        until = self._utterance.until if self._utterance is not None else math.inf
        try:
            return await self.connection.receive(self.settings.idle_timeout, until)
        except ProviderUnavailable:
            if self.working or not self.connection.decoder.between_events:
                raise
            return None

    async def _answer(self, event: Event) -> None:
        match event.type:
            case "describe":
                await self._send(self.engines.offered.as_event())
            case "ping":
                with _request("stt"):
                    answer = pong(text_of(event))
                await self._send(answer)
            case "transcribe" | "audio-start" | "audio-chunk":
                with _request("stt"):
                    await self._hear(event)
            case "audio-stop":
                await self._transcribe()
            case "synthesize":
                await self._synthesise(event)
            case _:
                pass

    async def _send(self, event: Event) -> None:
        await self.connection.send(event, self.settings.idle_timeout)

    async def _linger(self) -> None:
        """Let the client read the error: closing while something of the client's is unread would take it back."""
        stream = self.connection.stream
        with trio.move_on_after(LINGER), suppress(trio.BrokenResourceError):
            await stream.send_eof()
            while await stream.receive_some():
                pass

    # --- speech to text

    async def _hear(self, event: Event) -> None:
        hearing = self.engines.hearing
        if hearing is None:
            raise _NotServed("speech to text is not served here")
        if event.type == "transcribe":
            self.close()
            # The name of a model is passed over, as wyoming-faster-whisper does: clients send the one that they know.
            text_of(event, "name")
            _check(self.engines.info.asr, "", text_of(event, "language"))
            return
        audio = audio_format(event)
        if audio.rate > HIGHEST_RATE:
            raise ProviderProtocolError(f"audio may have {HIGHEST_RATE} Hz")
        if event.type == "audio-start":
            self.close()
        if self._utterance is None:
            self._utterance = self._begin(hearing, audio)
        utterance = self._utterance
        if audio != utterance.audio:
            raise ProviderProtocolError("an utterance changes its format")
        for begin in range(0, len(event.payload), SLICE):
            utterance.feed(event.payload[begin : begin + SLICE])
            await trio.lowlevel.checkpoint()
            if utterance.seconds > self.settings.max_utterance:
                break
        if utterance.seconds > self.settings.max_utterance:
            raise ProviderProtocolError(f"an utterance may have {self.settings.max_utterance:g} s of audio")

    def _begin(self, hearing: Hearing, audio: AudioFormat) -> _Utterance:
        # Audio comes as it is spoken. A client that sends on and on and never an end keeps a place that others wait
        # for.
        until = trio.current_time() + self.settings.max_utterance + self.settings.idle_timeout
        with ExitStack() as stack:
            if hearing.streams:
                stack.enter_context(hearing.pool.admit())
            return _Utterance(hearing.begin(audio.rate), audio, until, stack.pop_all())

    async def _transcribe(self) -> None:
        utterance, hearing = self._utterance, self.engines.hearing
        if utterance is None or hearing is None:
            await self._send(transcript(""))
            return
        began = trio.current_time()
        try:
            with _request("stt"), nullcontext() if hearing.streams else hearing.pool.admit():
                words = await utterance.transcript.words()
        finally:
            self.close()
        await self._send(transcript(without_tags(words)))
        self._done("stt", began, utterance.seconds)

    # --- text to speech

    async def _synthesise(self, event: Event) -> None:
        began, sent = trio.current_time(), 0
        with ExitStack() as stack:
            with _request("tts"):
                speaking, text = self._checked(event)
                stack.enter_context(speaking.pool.admit())
            audio = AudioFormat(speaking.rate)
            for sentence in speaking.sentences(text):
                with _request("tts"):
                    pcm = await speaking.speak(sentence)
                if not sent:
                    await self._send(audio_start(audio))
                for start in range(0, len(pcm), CHUNK):
                    await self._send(audio_chunk(audio, pcm[start : start + CHUNK]))
                sent += len(pcm)
            await self._send(audio_stop())
        self._done("tts", began, sent / 2 / audio.rate)

    def _checked(self, event: Event) -> tuple[Speaking, str]:
        """The engine and the text of a request that can be answered."""
        speaking, text = self.engines.speaking, text_of(event)
        if speaking is None:
            raise _NotServed("text to speech is not served here")
        _check(self.engines.info.tts, *voice_of(event))
        if len(text) > self.settings.max_text:
            raise ProviderProtocolError(f"a text may have {self.settings.max_text} characters")
        if text_of(event, "text_format") not in ("", "text"):
            raise ProviderProtocolError("only plain text is spoken")
        return speaking, text

    def _done(self, engine: str, began: float, audio_seconds: float) -> None:
        self.metrics.requests.labels(engine=engine, outcome="done").inc()
        self.metrics.seconds.labels(engine=engine).observe(trio.current_time() - began)
        self.metrics.audio.labels(engine=engine).inc(audio_seconds)


def _check(programs: Sequence[Program], name: str, language: str) -> None:
    """Refuse a model, voice or language that is not served; what a client leaves open is ours to choose."""
    offers = [offer for program in programs for offer in program.offers]
    if name and name not in [offer.name for offer in offers]:
        raise _NotServed(f"there is no {name[:SHOWN]!r} here")
    spoken = [candidate for offer in offers for candidate in offer.languages]
    if language and spoken and not any(same_language(language, candidate) for candidate in spoken):
        raise _NotServed(f"the language {language[:SHOWN]!r} is not served here")
