"""The speech engines of this host as stages of a pipeline: opened once and shared, in worker processes of their own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import attrs
import trio

from agentd.agent import Readiness
from agentd.errors import ProviderUnavailable
from agentd_providers.local import first_sounds, moonshine, piper, smart_turn, vosk
from agentd_providers.local.first_sounds import FirstSounds
from agentd_providers.local.hung import LOAD_WITHIN, speaking_limit
from agentd_providers.local.models import catalogue
from agentd_providers.local.settings import SMART_TURN, Engine, SttSettings, TtsSettings
from agentd_providers.local.settings import USUAL_MODEL as USUAL_MODEL
from agentd_providers.local.transcribers import MoonshineTranscriber, VoskTranscriber
from agentd_providers.local.voice_activity import WINDOW_MS, VoiceActivityEngine, load_voice_activity
from agentd_providers.local.worker import EngineWorker, open_worker
from agentd_providers.pipeline.sound import in_one_piece
from agentd_providers.pipeline.stages import SentenceJudge, Transcriber, Voice, VoiceDetector
from agentd_providers.shared import SharedServices
from agentd_providers.turns.settings import TurnSettings

_model_limiter = trio.CapacityLimiter(1)


@attrs.frozen
class LocalSpeechToText:
    """See agentd_providers.pipeline.stages.SpeechToText."""

    worker: EngineWorker
    engine: Engine
    model: str

    @property
    def readiness(self) -> Readiness:
        return self.worker.readiness

    @asynccontextmanager
    async def open(self, rate: int) -> AsyncIterator[Transcriber]:
        """See agentd_providers.pipeline.stages.SpeechToText.open."""
        kind = MoonshineTranscriber if self.engine is Engine.MOONSHINE else VoskTranscriber
        yield kind(self.worker, self.model, rate)

    async def load(self) -> None:
        """Wait for the model to be loaded, so that the first caller does not. Raises ProviderError."""
        await self.worker.loaded()


@attrs.frozen
class PiperVoice:
    """Piper: an engine of text to speech, which has the same voice for every call."""

    worker: EngineWorker
    voice: str
    threads: int
    length_scale: float

    @property
    def readiness(self) -> Readiness:
        return self.worker.readiness

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Voice]:
        """See agentd_providers.pipeline.stages.TextToSpeech.open."""
        yield self

    @asynccontextmanager
    async def speak(self, text: str, rate: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See agentd_providers.pipeline.stages.Voice.speak."""
        pcm = await self.worker.run(
            piper.synthesise, self.voice, self.threads, self.length_scale, text, rate, limit=speaking_limit(text)
        )
        async with in_one_piece(pcm) as pieces:
            yield pieces


@attrs.frozen
class SmartTurnJudge:
    """A pipeline's TurnJudge, by Smart Turn."""

    worker: EngineWorker
    model: str

    async def judge(self, pcm: bytes, rate: int, look: int) -> float:
        """See agentd_providers.pipeline.stages.TurnJudge.judge."""
        return await self.worker.run(smart_turn.judge, self.model, pcm, rate, look)

    async def load(self) -> None:
        """Wait for the model to be loaded, so that the first caller does not. Raises ProviderError."""
        await self.worker.loaded()


@attrs.frozen
class TurnCues:
    """See agentd_providers.pipeline.stages.TurnCues: voice activity by Silero, Smart Turn as the judge of turns, and a
    small network of our own as the judge of sounds."""

    voice_activity: VoiceActivityEngine
    judge: SmartTurnJudge | None
    sounds: FirstSounds | None = None
    sentences: SentenceJudge | None = None

    @property
    def window_ms(self) -> float:
        return WINDOW_MS

    def detector(self, rate: int) -> VoiceDetector:
        """See agentd_providers.pipeline.stages.TurnCues.detector."""
        return self.voice_activity.detector(rate)

    async def load(self) -> None:
        """Wait for the judge's model to be loaded, so that the first caller does not. Raises ProviderError."""
        if self.judge is not None:
            await self.judge.load()


@asynccontextmanager
async def open_local_listen(
    settings: SttSettings, _language: str, shared: SharedServices
) -> AsyncIterator[LocalSpeechToText]:
    """Speech to text on this host. Raises ProviderError when its model is not there."""
    model = await locate(settings.model or USUAL_MODEL[settings.engine])
    load = partial(moonshine.load if settings.engine is Engine.MOONSHINE else vosk.load, model)
    async with _worker("stt", (settings.engine, model), load, shared) as worker:
        yield LocalSpeechToText(worker, settings.engine, model)


@asynccontextmanager
async def open_local_speak(settings: TtsSettings, _language: str, shared: SharedServices) -> AsyncIterator[PiperVoice]:
    """Text to speech on this host. Raises ProviderError when its voice is not there."""
    voice = await locate(settings.voice)
    load = partial(piper.load, voice, settings.threads)
    async with _worker("tts", (voice, settings.threads), load, shared) as worker:
        yield PiperVoice(worker, voice, settings.threads, settings.length_scale)


@asynccontextmanager
async def open_turn_cues(
    settings: TurnSettings,
    shared: SharedServices,
    open_sentences: Callable[[], AbstractAsyncContextManager[SentenceJudge]] | None = None,
) -> AsyncIterator[TurnCues]:
    """Voice activity, loaded, and the judges. Raises ProviderError when one is not installed or its model not there."""
    async with AsyncExitStack() as stack:
        voice_activity = await stack.enter_async_context(
            shared.use("voice-activity", _open_voice_activity, "voice-activity")
        )
        judge = None
        sounds = await _first_sounds() if settings.weigh_sounds else None
        if settings.smart_turn:
            model = await locate(SMART_TURN)
            worker = await stack.enter_async_context(_worker("turn", (model,), partial(smart_turn.load, model), shared))
            judge = SmartTurnJudge(worker, model)
        sentences = None if open_sentences is None else await stack.enter_async_context(open_sentences())
        yield TurnCues(voice_activity, judge, sounds, sentences)


def _worker(
    name: str, key: tuple[object, ...], load: Callable[[], object], shared: SharedServices
) -> AbstractAsyncContextManager[EngineWorker]:
    return shared.use((name, *key), partial(_open_worker, name, load, shared), name)


@asynccontextmanager
async def _open_worker(name: str, load: Callable[[], object], shared: SharedServices) -> AsyncIterator[EngineWorker]:
    async with open_worker(name, shared.on_restart, load) as worker:
        with shared.showing(worker):
            yield worker


@asynccontextmanager
async def _open_voice_activity() -> AsyncIterator[VoiceActivityEngine]:
    yield await load_voice_activity()


async def _first_sounds() -> FirstSounds:
    with trio.move_on_after(LOAD_WITHIN):
        return await trio.to_thread.run_sync(first_sounds.load, limiter=_model_limiter, abandon_on_cancel=True)
    raise ProviderUnavailable(f"{first_sounds.WEIGHTS} was not read within {LOAD_WITHIN:g} s: is its disk in trouble?")


async def locate(name_or_path: str) -> str:
    """The path of a model. Raises ProviderError, with the command that fetches it, when it is not there, or when its
    disk does not tell in time: then a thread is left to itself."""
    with trio.move_on_after(LOAD_WITHIN):
        return str(
            await trio.to_thread.run_sync(
                catalogue.locate, name_or_path, limiter=_model_limiter, abandon_on_cancel=True
            )
        )
    raise ProviderUnavailable(
        f"the model {name_or_path} was not found within {LOAD_WITHIN:g} s: is its disk in trouble?"
    )
