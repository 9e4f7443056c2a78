"""The two engines of speech to text, as a pipeline's Transcriber."""

from contextlib import suppress
from itertools import count

import attrs

from agentd.errors import ProviderUnavailable
from agentd_providers.local import moonshine, vosk
from agentd_providers.local.hung import hearing_limit
from agentd_providers.local.worker import EngineWorker
from agentd_providers.pipeline.stages import Transcript

VOSK_BLOCK_MS = 100
SETTLED_SECONDS = 5
"""Speech before a pause that is not decoded again when the turn goes on: it would take longer each time."""
_keys = count(1)


@attrs.frozen
class MoonshineTranscriber:
    """Decodes whole utterances: for short turns that is faster than Moonshine's own streaming, and surer."""

    worker: EngineWorker
    model: str
    rate: int

    def begin(self) -> Transcript:
        return _MoonshineTranscript(self)


@attrs.define(eq=False)
class _MoonshineTranscript:
    """Words are asked for at pauses, so what was fed up to then can be decoded by itself: in a long turn the part
    before an earlier pause is not decoded again."""

    _engine: MoonshineTranscriber
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    _settled: str = attrs.field(default="", init=False)
    _last: tuple[int, str] = attrs.field(default=(0, ""), init=False)
    """How much of `_pcm` was decoded last, and what that says."""

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm

    async def words(self) -> str:
        engine = self._engine
        decoded, said = self._last
        if decoded > SETTLED_SECONDS * engine.rate * 2:
            del self._pcm[:decoded]
            self._settled, self._last = f"{self._settled} {said}".strip(), (0, "")
        length = len(self._pcm)
        limit = hearing_limit(length / 2 / engine.rate)
        said = await engine.worker.run(moonshine.transcribe, engine.model, bytes(self._pcm), engine.rate, limit=limit)
        self._last = (length, said)
        return f"{self._settled} {said}".strip()

    def close(self) -> None:
        pass  # the engine keeps nothing


@attrs.frozen
class VoskTranscriber:
    """Decodes while the caller speaks, in blocks of 100 ms."""

    worker: EngineWorker
    model: str
    rate: int

    def begin(self) -> Transcript:
        return _VoskTranscript(self, f"utterance-{next(_keys)}")


@attrs.define(eq=False)
class _VoskTranscript:
    _engine: VoskTranscriber
    _key: str
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    _fed: int = attrs.field(default=0, init=False)
    _in_step: bool = attrs.field(default=True, init=False)

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm
        if self._in_step and len(self._pcm) - self._fed >= self._engine.rate * VOSK_BLOCK_MS // 1000 * 2:
            self._send_block()

    async def words(self) -> str:
        if not self._pcm:
            return ""
        worker = self._engine.worker
        if self._in_step:
            self._send_block()
        if self._in_step:
            words = await worker.run(vosk.words, self._key)
            if words is not None:
                return words
        # The worker was started again, or was too busy for a block: it hears the whole turn once more. Its jobs are
        # posted, so that they are done also where this is cancelled.
        worker.post(vosk.discard, self._key)
        self._fed, self._in_step = 0, True
        self._send_block()
        words = await worker.run(vosk.words, self._key)
        if words is None:
            raise ProviderUnavailable("Vosk lost a turn of the caller twice")
        return words

    def close(self) -> None:
        with suppress(ProviderUnavailable):  # then the engine forgets it as the oldest, or with its process
            self._engine.worker.post(vosk.discard, self._key)

    def _send_block(self) -> None:
        block, engine = bytes(self._pcm[self._fed :]), self._engine
        try:
            if block:
                limit = hearing_limit(len(block) / 2 / engine.rate)
                engine.worker.post(vosk.feed, engine.model, self._key, block, engine.rate, self._fed, limit=limit)
        except ProviderUnavailable:
            self._in_step = False
        else:
            self._fed = len(self._pcm)
