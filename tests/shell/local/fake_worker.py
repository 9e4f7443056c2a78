"""A worker process that is none, and engines that read the words out of the audio.

Every word has a sample value of its own; 16 kHz, so that nothing is resampled.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import attrs
import trio

from agentd.agent import Readiness
from agentd.errors import ProviderError, ProviderUnavailable
from agentd_providers.local import moonshine, vosk
from agentd_providers.local.hung import SMALL_JOB
from agentd_providers.local.worker import Job

RATE = 16000
WORDS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def words_in(pcm: bytes) -> str:
    return " ".join(WORDS[code] for code in dict.fromkeys(pcm[::2]) if code)


@attrs.define(eq=False)
class Recogniser:
    """Kaldi's manners: a final result is given once, and begins the next."""

    hear: Callable[[bytes], str]
    pcm: bytes = b""

    def AcceptWaveform(self, pcm: bytes) -> bool:
        self.pcm += pcm
        return False

    def FinalResult(self) -> str:
        pcm, self.pcm = self.pcm, b""
        return json.dumps({"text": self.hear(pcm)})


@attrs.define(eq=False)
class FakeWorker:
    """Does the jobs in order, `seconds` after one is waited for. See agentd_providers.local.worker.EngineWorker."""

    seconds: float = 0.1
    full: bool = False
    dies_at: Callable[..., Any] | None = None
    """The next job of this function kills the process."""
    deaths: int = 0
    done: list[Job] = attrs.field(factory=list)
    _jobs: deque[Job] = attrs.field(factory=deque)

    @property
    def readiness(self) -> Readiness:
        return Readiness(True)

    @property
    def idle(self) -> bool:
        return not self.full and not self._jobs

    def post(self, function: Callable[..., Any], *args: Any, limit: float = SMALL_JOB) -> Job:
        if self.full:
            raise ProviderUnavailable("stt: 64 jobs wait already")
        self._jobs.append(Job(function, args, limit))
        return self._jobs[-1]

    async def run(self, function: Callable[..., Any], *args: Any, limit: float = SMALL_JOB) -> Any:
        return await self.outcome(self.post(function, *args, limit=limit))

    async def outcome(self, job: Job) -> Any:
        try:
            await trio.sleep(0 if job.done.is_set() else self.seconds)
        except trio.Cancelled:
            job.wanted = False
            raise
        self.catch_up()
        if job.error is not None:
            raise job.error
        return job.result

    def catch_up(self) -> None:
        while self._jobs:
            job = self._jobs.popleft()
            if not job.wanted:
                continue
            self.done.append(job)
            if job.function is self.dies_at:
                self.dies_at, self.deaths = None, self.deaths + 1
                self.start_again()
                job.error = ProviderUnavailable("stt: the engine's process died")
                job.done.set()
                continue
            try:
                job.result = job.function(*job.args)
            except ProviderError as error:
                job.error = error
            job.done.set()

    def start_again(self) -> None:
        """The process is another one: it knows of no utterance."""
        vosk._utterances.clear()

    def jobs_of(self, function: Callable[..., Any]) -> list[Job]:
        return [job for job in self.done if job.function is function]


@contextmanager
def fake_engines(hear: Callable[[bytes, int], str] = lambda pcm, _rate: words_in(pcm)) -> Iterator[None]:
    """In here the engines that work in this process are these: their model is called "model". `hear(pcm, rate)` are the
    words of slin at `rate` Hz."""

    def recogniser(_model: object, rate: int) -> Recogniser:
        assert rate == RATE
        return Recogniser(lambda pcm: hear(pcm, rate))

    def hear_words(_model: str, pcm: bytes, rate: int, _guess: Sequence[int]) -> moonshine.Heard:
        words = hear(pcm, rate)
        return moonshine.Heard(words, [WORDS.index(word) for word in words.split() if word in WORDS])

    with (
        patch.dict(sys.modules, vosk=SimpleNamespace(KaldiRecognizer=recogniser)),
        patch.dict(vosk._models, model=object()),
        patch.object(moonshine, "hear", hear_words),
    ):
        try:
            yield
        finally:
            vosk._utterances.clear()
