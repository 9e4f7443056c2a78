"""This host's engines as the speech server serves them: loaded in every process, and told truthfully to clients."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import attrs
import structlog
import trio

from agentd import __version__, deadlines
from agentd.audio.resample import RATES
from agentd.errors import ProviderUnavailable
from agentd.parsing import load_json
from agentd_providers.local import moonshine, piper, vosk
from agentd_providers.local.engines import USUAL_MODEL, locate
from agentd_providers.local.hung import hearing_limit, speaking_limit
from agentd_providers.local.settings import Engine, TtsSettings
from agentd_providers.local.transcribers import VoskTranscriber
from agentd_providers.pipeline.clauses import LONGEST, ClauseCutter, in_one_clause
from agentd_providers.pipeline.stages import Transcript
from agentd_providers.text_normalisation.language import Language
from agentd_providers.text_normalisation.normaliser import TextNormaliser
from agentd_providers.text_normalisation.tables import open_language
from agentd_providers.wyoming.info import Info, Offer, Program
from agentd_providers.wyoming.server.metrics import SpeechMetrics
from agentd_providers.wyoming.server.pool import EnginePool, as_provider_errors, open_pool
from agentd_providers.wyoming.server.settings import SpeechServerSettings

log = structlog.get_logger("agentd_providers.wyoming")

_HOMES: Mapping[str, tuple[str, str]] = {
    "moonshine": ("Moonshine AI", "https://github.com/moonshine-ai/moonshine"),
    "vosk": ("Alpha Cephei", "https://github.com/alphacep/vosk-api"),
    "piper": ("Open Home Foundation", "https://github.com/OHF-Voice/piper1-gpl"),
}
_PACKAGES = {"moonshine": "moonshine-voice", "vosk": "vosk", "piper": "piper-tts"}


class Hearing(Protocol):
    """Speech to text, as the server needs it."""

    @property
    def pool(self) -> EnginePool: ...

    @property
    def streams(self) -> bool:
        """Whether an utterance is work from its beginning on, and not only once it is complete."""
        ...

    def begin(self, rate: int) -> Transcript:
        """An utterance begins: slin at `rate` Hz."""
        ...


class Speaking(Protocol):
    """Text to speech, as the server needs it."""

    @property
    def pool(self) -> EnginePool: ...

    @property
    def rate(self) -> int:
        """That of the voice, in Hz."""
        ...

    def sentences(self, text: str) -> list[str]:
        """What is to be spoken one after the other for a text, as it is spoken."""
        ...

    async def speak(self, sentence: str) -> bytes:
        """The sound: slin at `rate`. Raises ProviderError."""
        ...


@attrs.frozen
class Engines:
    """The kinds that are served; None where one is not. `info` is what there is of them."""

    info: Info
    hearing: Hearing | None = None
    speaking: Speaking | None = None

    @property
    def pools(self) -> Sequence[EnginePool]:
        return [kind.pool for kind in (self.hearing, self.speaking) if kind is not None]

    @property
    def offered(self) -> Info:
        """What clients are told: a kind that has no process just now is not on offer, so that they go elsewhere."""
        hears = self.hearing is None or self.hearing.pool.readiness.ready
        speaks = self.speaking is None or self.speaking.pool.readiness.ready
        return Info(asr=self.info.asr if hears else (), tts=self.info.tts if speaks else ())


@attrs.frozen
class LocalHearing:
    """Moonshine or Vosk."""

    pool: EnginePool
    engine: Engine
    model: str

    @property
    def streams(self) -> bool:
        return self.engine is not Engine.MOONSHINE

    def begin(self, rate: int) -> Transcript:
        return (_Streamed if self.streams else _Whole)(self.pool, self.model, rate)


@attrs.define(eq=False)
class _Whole:
    """An utterance for Moonshine, which decodes it once it is complete, in whichever process is least busy then."""

    _pool: EnginePool
    _model: str
    _rate: int
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)

    def feed(self, pcm: bytes) -> None:
        self._pcm += pcm

    async def words(self) -> str:
        limit = hearing_limit(len(self._pcm) / 2 / self._rate, deadlines.ENGINE_LENT_JOB)
        return await self._pool.run(moonshine.transcribe, self._model, bytes(self._pcm), self._rate, limit=limit)

    def close(self) -> None:
        self._pcm.clear()


@attrs.define(eq=False)
class _Streamed:
    """An utterance for Vosk, which decodes it while it comes, in one process."""

    _pool: EnginePool
    _model: str
    _rate: int
    _stack: ExitStack = attrs.field(factory=ExitStack, init=False)
    _transcript: Transcript = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        worker = self._stack.enter_context(self._pool.least_busy())
        self._transcript = VoskTranscriber(worker, self._model, self._rate).begin()
        self._stack.callback(self._transcript.close)

    def feed(self, pcm: bytes) -> None:
        self._transcript.feed(pcm)

    async def words(self) -> str:
        with as_provider_errors(self._pool.engine):
            return await self._transcript.words()

    def close(self) -> None:
        self._stack.close()


@attrs.frozen
class PiperSpeaking:
    """Piper, at the voice's own rate: clients convert to theirs. `text`: how texts are spoken in its language."""

    pool: EnginePool
    settings: TtsSettings
    path: str
    rate: int
    text: TextNormaliser = attrs.field(factory=TextNormaliser)

    def sentences(self, text: str) -> list[str]:
        """See Speaking.sentences."""
        return [spoken for clause in sentences(text, self.text.language) if (spoken := self.text.spoken(clause).text)]

    async def speak(self, sentence: str) -> bytes:
        settings, limit = self.settings, speaking_limit(sentence, deadlines.ENGINE_LENT_JOB)
        return await self.pool.run(
            piper.synthesise, self.path, settings.threads, settings.length_scale, sentence, self.rate, limit=limit
        )


def sentences(text: str, language: Language) -> list[str]:
    """A long text in pieces, so that the first is heard soon; a clause, such as agentd sends, as one."""
    if len(text) <= LONGEST:
        return [clause] if (clause := in_one_clause(text)) else []
    cutter = ClauseCutter(language)
    return [*cutter.feed(text), *cutter.flush()]


@asynccontextmanager
async def open_engines(settings: SpeechServerSettings, metrics: SpeechMetrics) -> AsyncIterator[Engines]:
    """The engines, loaded in all their processes. Raises ProviderError when one cannot be loaded."""
    began = trio.current_time()
    async with AsyncExitStack() as stack:
        hearing = speaking = None
        info = Info()
        if settings.transcribes:
            name = settings.stt.model or USUAL_MODEL[settings.stt.engine]
            model = await locate(name)
            load = partial(moonshine.load if settings.stt.engine is Engine.MOONSHINE else vosk.load, model)
            pool = await stack.enter_async_context(
                open_pool("stt", settings.processes, settings.max_waiting, metrics, load)
            )
            hearing = LocalHearing(pool, settings.stt.engine, model)
            info = attrs.evolve(info, asr=(_asr_program(settings, name),))
        if settings.synthesises:
            path = await locate(settings.tts.voice)
            load = partial(piper.load, path, settings.tts.threads)
            rate, language = await trio.to_thread.run_sync(_voice_facts, path)
            pool = await stack.enter_async_context(
                open_pool("tts", settings.processes, settings.max_waiting, metrics, load)
            )
            known = await trio.to_thread.run_sync(open_language, language)
            speaking = PiperSpeaking(pool, settings.tts, path, rate, TextNormaliser(known, takes_ipa=True))
            info = attrs.evolve(info, tts=(_tts_program(path, language),))
        engines = Engines(info, hearing, speaking)
        for pool in engines.pools:
            await pool.loaded()
        log.info("engines are loaded", processes=settings.processes, after_s=round(trio.current_time() - began, 2))
        yield engines


def _asr_program(settings: SpeechServerSettings, model: str) -> Program:
    engine = settings.stt.engine.value
    languages = tuple(settings.languages) or ("en",)  # without any it is Moonshine: the settings' check sees to that
    return _program(engine, (Offer(Path(model).name, languages),))


def _tts_program(path: str, language: str) -> Program:
    return _program("piper", (Offer(Path(path).name.removesuffix(".onnx"), (language,) if language else ()),))


def _program(engine: str, offers: tuple[Offer, ...]) -> Program:
    try:
        version = metadata.version(_PACKAGES[engine])
    except metadata.PackageNotFoundError:
        version = ""
    return Program(engine, offers, f"{engine} of agentd {__version__}", version, _HOMES[engine])


def _voice_facts(path: str) -> tuple[int, str]:
    """A Piper voice's rate in Hz, and its language. Blocking."""
    try:
        config: Any = load_json(Path(f"{path}.json").read_text(encoding="utf-8"))
        rate, language = config["audio"]["sample_rate"], config.get("language", {}).get("code", "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderUnavailable(f"the Piper voice {path} cannot be read: {type(error).__name__} {error}") from error
    if rate not in RATES or not isinstance(language, str):
        raise ProviderUnavailable(f"the Piper voice {path} has no rate and language that agentd knows")
    return rate, language
