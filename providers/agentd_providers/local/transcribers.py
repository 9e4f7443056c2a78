"""The two engines of speech to text, as a pipeline's Transcriber."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import count

import attrs

from agentd.errors import ProviderUnavailable
from agentd_providers.local import moonshine, vosk
from agentd_providers.local.hung import hearing_limit
from agentd_providers.local.lulls import Lulls
from agentd_providers.local.worker import EngineWorker, Job
from agentd_providers.pipeline.stages import Transcript

VOSK_BLOCK_MS = 100
SETTLED_SECONDS = 12
"""Speech before a pause that is not decoded again when the turn goes on: it would take longer each time. What is cut
off there costs words: of speech of 6 s and more one in fifty with 5 s (measured, tests/lab/bench_transcript.py)."""
LULL_SECONDS = 0.04
"""Of quiet, after which it may be a pause."""
PAUSE_SECONDS = 0.5
"""Of quiet, after which a pause is surely known: what was decoded longer ago is decoded anew."""
LONGEST_AHEAD = 20
"""Seconds of speech beyond which nothing is decoded before it is known to be a pause: it holds the engine up."""
_keys = count(1)


@attrs.frozen
class MoonshineTranscriber:
    """Decodes whole utterances: for short turns that is faster than Moonshine's own streaming, and surer.

    It begins when the caller's sound falls low, if the engine has nothing else to do: when that turns out to be a
    pause, which is known later, the words are there or nearly so, however many they are.
    """

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
    _lulls: Lulls = attrs.field(init=False)
    _settled: str = attrs.field(default="", init=False)
    """The words of the parts before."""
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)
    """Of the part that is not settled, like all that follows."""
    _sounded: int = attrs.field(default=0, init=False)
    """How much of `_pcm` it was to the end of the last sound."""
    _job: Job | None = attrs.field(default=None, init=False)
    """The last decoding,"""
    _given: int = attrs.field(default=0, init=False)
    """and how much of `_pcm` it has."""
    _guess: Sequence[int] = attrs.field(default=(), init=False)
    """The tokens of the last one that is done."""
    _last: tuple[int, str] = attrs.field(default=(0, ""), init=False)
    """How much of `_pcm` was decoded at the last pause, and what that says."""

    def __attrs_post_init__(self) -> None:
        self._lulls = Lulls(self._engine.rate)

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm
        if not self._lulls.quiet(pcm):
            self._sounded = len(self._pcm)
        elif self._may_be_pause() and self._engine.worker.idle:
            self._settle()
            if len(self._pcm) <= self._bytes(LONGEST_AHEAD):
                self._begin()

    async def words(self) -> str:
        job = self._job
        if job is None or not self._still_good(job):
            self._settle()
            job = self._begin()
        settled, given = self._settled, self._given
        heard: moonshine.Heard = await self._engine.worker.outcome(job)
        if job is self._job:  # else the turn has gone on
            self._last = (given, heard.words)
        return f"{settled} {heard.words}".strip()

    def close(self) -> None:
        if self._job is not None:
            self._job.wanted = False

    def _may_be_pause(self) -> bool:
        """There was a sound that no decoding has, and it is over."""
        return self._given < self._sounded <= len(self._pcm) - self._bytes(LULL_SECONDS)

    def _still_good(self, job: Job) -> bool:
        """Whether the last decoding has all that was said. If it is long ago, there may have been a whisper."""
        given_up = job.error is not None or not (job.wanted or job.done.is_set())
        more = len(self._pcm) - self._given
        return not given_up and self._sounded <= self._given and more <= self._bytes(PAUSE_SECONDS)

    def _begin(self) -> Job:
        """Decode what there is now. Raises ProviderUnavailable."""
        engine, before = self._engine, self._job
        if before is not None and before.done.is_set() and before.error is None:
            self._guess = before.result.tokens
        pcm = bytes(self._pcm)
        limit = hearing_limit(len(pcm) / 2 / engine.rate)
        self._job = engine.worker.post(moonshine.hear, engine.model, pcm, engine.rate, self._guess, limit=limit)
        self._given = len(pcm)
        return self._job

    def _settle(self) -> None:
        """What was decoded at the last pause is not decoded again, if it is long."""
        decoded, said = self._last
        if decoded > self._bytes(SETTLED_SECONDS):
            del self._pcm[:decoded]
            self._settled = f"{self._settled} {said}".strip()
            self._sounded = max(0, self._sounded - decoded)
            self._last, self._job, self._given, self._guess = (0, ""), None, 0, ()

    def _bytes(self, seconds: float) -> int:
        return int(seconds * self._engine.rate) * 2


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
