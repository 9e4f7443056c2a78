"""The local agent: engines opened once and shared, sessions made of them for each call."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import attrs
import structlog
import trio

from agentd.agent import AgentSession, Audio, CallInfo, Playout, Readiness
from agentd.config import AgentConfig
from agentd.errors import ProviderError, first_of
from agentd.history import History
from agentd.secrets import need_secret
from providers.local import catalogue, moonshine, piper, smart_turn, vosk
from providers.local.llm_server import LlmServer, LlmServerSettings, open_llm_server
from providers.local.responder import OpenAiResponder
from providers.local.settings import Engine, LlmSettings, LocalSettings, PromptStyle
from providers.local.transcribers import MoonshineTranscriber, VoskTranscriber
from providers.local.voice_activity import RATES, WINDOW_MS, VoiceActivityEngine, load_voice_activity
from providers.local.worker import EngineWorker, open_worker
from providers.pipeline import PipelineSession, open_pipeline
from providers.shared import SharedServices
from providers.speech_output import SpeechOutput
from providers.stages import Message, PipelineSettings, Role, Transcriber, fill_in

log = structlog.get_logger("providers.local")

USUAL_MODEL = {Engine.MOONSHINE: "moonshine-tiny-en", Engine.VOSK: "vosk-model-small-en-us-0.15"}
SMART_TURN = "smart-turn-v3.2"
LINE_RATE = 8000
_model_limiter = trio.CapacityLimiter(1)


@attrs.frozen
class PiperVoice:
    """A pipeline's Voice, by Piper. The words that every call hears (`learn`) are synthesised only once a rate."""

    worker: EngineWorker
    voice: str
    threads: int
    length_scale: float
    _fixed: set[str] = attrs.field(factory=set, init=False, repr=False)
    _known: dict[tuple[str, int], bytes] = attrs.field(factory=dict, init=False, repr=False)

    async def learn(self, text: str, rate: int) -> None:
        """Keep the sound of a fixed phrase. Raises ProviderError."""
        if text:
            self._fixed.add(text)
            await self.synthesise(text, rate)

    async def synthesise(self, text: str, rate: int) -> bytes:
        if (known := self._known.get((text, rate))) is not None:
            await trio.lowlevel.checkpoint()
            return known
        pcm = await self.worker.run(piper.synthesise, self.voice, self.threads, self.length_scale, text, rate)
        if text in self._fixed:
            self._known[text, rate] = pcm
        return pcm


@attrs.frozen
class SmartTurnJudge:
    """A pipeline's TurnJudge, by Smart Turn."""

    worker: EngineWorker
    model: str

    async def judge(self, pcm: bytes, rate: int) -> float:
        return await self.worker.run(smart_turn.judge, self.model, pcm, rate)


@attrs.define(eq=False)
class LocalAgent:
    """See agentd.agent.Agent."""

    name: str
    config: AgentConfig
    settings: LocalSettings
    stt: EngineWorker
    stt_model: str
    voice: PiperVoice
    responder: OpenAiResponder
    llm: LlmServer | None
    voice_activity: VoiceActivityEngine
    judge: SmartTurnJudge | None
    shared: SharedServices

    @property
    def rates(self) -> Sequence[int]:
        return RATES

    @property
    def readiness(self) -> Readiness:
        if self.llm is not None and not self.llm.ready:
            return Readiness(False, "the language model's server is being started")
        return Readiness(True)

    @asynccontextmanager
    async def open(self, call: CallInfo, history: History, playout: Playout) -> AsyncIterator[AgentSession]:
        """See agentd.agent.Agent.open."""
        session = PipelineSession(
            call,
            history,
            SpeechOutput(playout, self.voice, call.rate),
            _pipeline_settings(self.config, self.settings),
            self.voice_activity.detector(call.rate),
            self._transcriber(call.rate),
            self.judge,
            self.responder,
            self.shared.observe_audio_delay,
        )
        async with open_pipeline(session), trio.open_nursery() as nursery:
            nursery.start_soon(self.responder.keep_warm)
            yield session
            nursery.cancel_scope.cancel()

    async def synthesise(self, text: str) -> Sequence[Audio]:
        """See agentd.agent.Agent.synthesise."""
        pcm = await self.voice.synthesise(text, LINE_RATE)
        return (Audio(0, 0, pcm, LINE_RATE),)

    def _transcriber(self, rate: int) -> Transcriber:
        kind = MoonshineTranscriber if self.settings.stt.engine is Engine.MOONSHINE else VoskTranscriber
        return kind(self.stt, self.stt_model, rate)

    async def warm_up(self) -> None:
        """Load every engine, so that the first caller waits for none. Raises ProviderError."""
        async with trio.open_nursery() as nursery:
            load = moonshine.load if self.settings.stt.engine is Engine.MOONSHINE else vosk.load
            nursery.start_soon(self.stt.run, load, self.stt_model)
            if self.judge is not None:
                nursery.start_soon(self.judge.worker.run, smart_turn.load, self.judge.model)
            for phrase in (*self.config.phrases, self.settings.farewell):
                nursery.start_soon(self.voice.learn, phrase, LINE_RATE)
            if self.llm is not None:
                nursery.start_soon(self._warm_prompt)

    async def _warm_prompt(self) -> None:
        """Have the prompt's beginning in the model's cache: it costs most of the first answer's time."""
        prompt = fill_in(self.config.prompt, CallInfo("warm-up"))
        messages = [Message(Role.SYSTEM, prompt), Message(Role.USER, "Hello.")]
        await self.responder.warm_up(messages)


@asynccontextmanager
async def open_local_agent(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[LocalAgent]:
    """The agent with its engines loaded. Raises ProviderError when one cannot be loaded."""
    settings = config.settings
    assert isinstance(settings, LocalSettings)
    stt_name = settings.stt.model or USUAL_MODEL[settings.stt.engine]
    stt_model = await _locate(stt_name)
    voice_path = await _locate(settings.tts.voice)
    opener = partial(open_worker, on_restart=shared.on_restart)
    async with (
        shared.use(("stt", settings.stt.engine, stt_model), partial(opener, "stt")) as stt,
        shared.use(("tts", voice_path, settings.tts.threads), partial(opener, "tts")) as tts,
        shared.use("voice-activity", _open_voice_activity) as voice_activity,
        _open_judge(settings, shared, opener) as judge,
        _open_llm(settings.llm, shared) as (llm, endpoint),
    ):
        responder = OpenAiResponder(
            settings.llm, _is_transcript(settings.llm), endpoint, config.language.lower().startswith("en")
        )
        voice = PiperVoice(tts, voice_path, settings.tts.threads, settings.tts.length_scale)
        agent = LocalAgent(name, config, settings, stt, stt_model, voice, responder, llm, voice_activity, judge, shared)
        try:
            began = trio.current_time()
            failure: ProviderError | None = None
            try:
                await agent.warm_up()
            except* ProviderError as group:
                failure = first_of(group)  # raised in here, it would come in a group with a cancellation
            if failure is not None:
                raise failure
            log.info("local agent is ready", agent=name, after_s=round(trio.current_time() - began, 2))
            yield agent
        finally:
            await responder.aclose()


@asynccontextmanager
async def _open_llm(
    settings: LlmSettings, shared: SharedServices
) -> AsyncIterator[tuple[LlmServer | None, Callable[[], tuple[str, str]]]]:
    """The language model: the configured server, or the embedded one."""
    if settings.base_url:
        key = ""
        if settings.api_key_name:
            key = need_secret(settings.api_key_name, "the key of the language model's server").reveal()
        yield None, lambda: (settings.base_url, key)
        return
    wanted = LlmServerSettings(
        await _locate(settings.model), settings.threads, settings.threads_batch, settings.context, settings.slots
    )
    async with shared.use(("llm", wanted), partial(open_llm_server, wanted, shared.on_restart)) as server:
        yield server, lambda: (server.base_url, server.key)


@asynccontextmanager
async def _open_judge(
    settings: LocalSettings,
    shared: SharedServices,
    opener: Callable[[str], AbstractAsyncContextManager[EngineWorker]],
) -> AsyncIterator[SmartTurnJudge | None]:
    if not settings.turn.smart_turn:
        yield None
        return
    model = await _locate(SMART_TURN)
    async with shared.use(("turn", model), partial(opener, "turn")) as worker:
        yield SmartTurnJudge(worker, model)


@asynccontextmanager
async def _open_voice_activity() -> AsyncIterator[VoiceActivityEngine]:
    yield await load_voice_activity()


async def _locate(name_or_path: str) -> str:
    return str(await trio.to_thread.run_sync(catalogue.locate, name_or_path, limiter=_model_limiter))


def _is_transcript(settings: LlmSettings) -> bool:
    if settings.style is PromptStyle.AUTO:
        return not settings.base_url
    return settings.style is PromptStyle.TRANSCRIPT


def _pipeline_settings(config: AgentConfig, settings: LocalSettings) -> PipelineSettings:
    return PipelineSettings(
        prompt=config.prompt,
        turns=settings.turn.turn_taking(config.language),
        window_ms=WINDOW_MS,
        pre_roll_ms=settings.turn.pre_roll_ms,
        end_phrases=tuple(settings.end_phrases),
        farewell=settings.farewell,
    )
