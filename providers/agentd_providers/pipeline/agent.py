"""An agent that is put together of stages: who listens, who thinks, who speaks. agentd takes the turns.

The stages are opened once, for as long as the agent is; each call has its own of each.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import structlog
import trio

from agentd.agent import AgentSession, Audio, CallInfo, Playout, Readiness, ToolDeclaration
from agentd.config.settings import AgentConfig
from agentd.errors import ProviderError, ProviderRejected, ungrouped
from agentd.history import History
from agentd_providers.pipeline.phrases import FixedPhrases
from agentd_providers.pipeline.session import PipelineSession, open_pipeline
from agentd_providers.pipeline.speech_output import SpeechOutput
from agentd_providers.pipeline.stages import (
    LanguageModel,
    PipelineSettings,
    SentenceJudge,
    SpeechToText,
    TextToSpeech,
    TurnCues,
    speak_whole,
)
from agentd_providers.shared import SharedServices
from agentd_providers.turns.settings import TurnSettings

log = structlog.get_logger("agentd_providers.pipeline")

Preparation = Callable[[], Awaitable[None]]

RATES = (8000, 16000)
LINE_RATE = 8000
LEARNING_DELAY, LONGEST_LEARNING_DELAY = 5.0, 300.0
"""Seconds between the tries to have the fixed phrases spoken by a voice that fails."""


@attrs.frozen
class Stages:
    """The open engines that an agent is made of. `prepare` are what is left to do before the first call, all at once;
    `distant` says that the voice is another machine's, and may come later than the agent. `sentences` are who may be
    asked whether a sentence ends where the model that writes the replies does not tell; the first who can is."""

    listen: SpeechToText
    think: LanguageModel
    speak: TextToSpeech
    cues: TurnCues
    prepare: Sequence[Preparation] = ()
    distant: bool = True
    takes_tools: bool = True
    sentences: Sequence[SentenceJudge] = ()


@attrs.define(eq=False)
class PipelineAgent:
    """See agentd.agent.Agent."""

    name: str
    settings: PipelineSettings
    stages: Stages
    phrases: FixedPhrases
    shared: SharedServices

    @property
    def rates(self) -> Sequence[int]:
        return RATES

    @property
    def readiness(self) -> Readiness:
        """That of the first stage that is not ready, if any."""
        stages = self.stages
        for name, stage in (("listen", stages.listen), ("think", stages.think), ("speak", stages.speak)):
            if not (readiness := stage.readiness).ready:
                return Readiness(False, f"{name}: {readiness.detail}")
        return Readiness(True)

    @asynccontextmanager
    async def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AsyncIterator[AgentSession]:
        """See agentd.agent.Agent.open."""
        stages = self.stages
        with ungrouped(ProviderError):  # out of the nurseries of those stages that are open already
            async with AsyncExitStack() as opened:
                detector = stages.cues.detector(call.rate)
                transcriber = await opened.enter_async_context(stages.listen.open(call.rate))
                voice = await opened.enter_async_context(stages.speak.open())
                responder = await opened.enter_async_context(stages.think.open())
                session = PipelineSession(
                    call,
                    history,
                    SpeechOutput(playout, self.phrases.spoken_by(voice), call.rate, text=self.settings.text),
                    self.settings,
                    detector,
                    transcriber,
                    stages.cues.judge,
                    responder,
                    self.shared.observe_audio_delay,
                    tools if stages.takes_tools else (),
                    stages.cues.sounds,
                    stages.sentences,
                )
                async with open_pipeline(session):
                    yield session

    async def synthesise(self, text: str) -> Sequence[Audio]:
        """See agentd.agent.Agent.synthesise."""
        with ungrouped(ProviderError):
            async with self.stages.speak.open() as voice:
                spoken = self.settings.text.spoken(text).text
                pcm = await speak_whole(self.phrases.spoken_by(voice), spoken, LINE_RATE) if spoken else b""
        return (Audio(0, 0, pcm, LINE_RATE),)

    async def prepare(self) -> None:
        """Load what is to be loaded, so that the first caller waits for nothing. Raises ProviderError."""
        with ungrouped(ProviderError):
            async with trio.open_nursery() as nursery:
                for step in self.stages.prepare:
                    nursery.start_soon(step)
                if not self.stages.distant:
                    nursery.start_soon(self.learn_phrases)

    async def learn_phrases(self) -> None:
        """Have the fixed phrases spoken once. Raises ProviderError."""
        with ungrouped(ProviderError):
            async with self.stages.speak.open() as voice:
                await self.phrases.learn(voice, LINE_RATE)

    async def keep_learning(self) -> None:
        """The same, tried again while it fails: until then the phrases are spoken when they are wanted."""
        delay = LEARNING_DELAY
        while True:
            try:
                await self.learn_phrases()
                return
            except ProviderError as error:
                log.warning("fixed phrases are not spoken yet", agent=self.name, error=str(error), retry_in_s=delay)
                if isinstance(error, ProviderRejected):
                    return
            await trio.sleep(delay)
            delay = min(delay * 2, LONGEST_LEARNING_DELAY)


@asynccontextmanager
async def open_agent(
    name: str, config: AgentConfig, settings: PipelineSettings, stages: Stages, shared: SharedServices
) -> AsyncIterator[PipelineAgent]:
    """The agent of these stages, ready for its first call. Raises ProviderError when a stage cannot be prepared."""
    texts = (settings.text.spoken(text).text for text in (*config.phrases, *settings.fillers, settings.farewell))
    phrases = FixedPhrases(frozenset(text for text in texts if text))
    agent = PipelineAgent(name, settings, stages, phrases, shared)
    if config.tools and not stages.takes_tools:
        log.warning("this agent's language model uses no tools: they are left out", agent=name, tools=config.tools)
    began = trio.current_time()
    await agent.prepare()
    log.info("agent is ready", agent=name, after_s=round(trio.current_time() - began, 2))
    async with trio.open_nursery() as nursery:
        if stages.distant:
            nursery.start_soon(agent.keep_learning)
        yield agent
        nursery.cancel_scope.cancel()


def pipeline_settings(
    config: AgentConfig, turn: TurnSettings, end_phrases: Sequence[str], farewell: str, window_ms: float
) -> PipelineSettings:
    """The settings of an agent's sessions, made of its configuration. `window_ms` is its TurnCues'."""
    return PipelineSettings(
        prompt=config.prompt,
        turns=turn.turn_taking(config.language),
        window_ms=window_ms,
        sentence_cue=turn.sentence_cue,
        pre_roll_ms=turn.pre_roll_ms,
        end_phrases=tuple(end_phrases),
        farewell=farewell,
        fillers=frozenset(text for text in (config.liveness.filler, config.failover.hold_message) if text),
    )
