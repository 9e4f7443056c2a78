"""The provider `pipeline`: opens the stages that its settings choose, and the agent of them.

Which packages are needed depends on the choice, so a stage's module is imported only when it is chosen.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import attrs

from agentd.config.settings import AgentConfig
from agentd.errors import AgentdError, ungrouped
from agentd.installation import installed
from agentd_providers.pipeline.agent import PipelineAgent, Stages, open_agent, pipeline_settings
from agentd_providers.pipeline.stages import LanguageModel, SpeechToText, TextToSpeech
from agentd_providers.pipeline_settings import PipelineAgentSettings, Speech, Think
from agentd_providers.shared import SharedServices


@asynccontextmanager
async def open_pipeline_agent(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[PipelineAgent]:
    """The agent that its settings put together. Raises ProviderError when a stage cannot be opened, ConfigError where
    a key is missing."""
    settings = config.settings
    assert isinstance(settings, PipelineAgentSettings)
    with ungrouped(AgentdError):  # out of the nurseries of those stages that are open already
        async with AsyncExitStack() as opened:
            stages = await StageOpener(config, settings, shared, opened).open()
            window_ms = stages.cues.window_ms
            session = pipeline_settings(config, settings.turn, settings.end_phrases, settings.farewell, window_ms)
            yield await opened.enter_async_context(open_agent(name, config, session, stages, shared))


@attrs.define
class StageOpener:
    """Opens stages into `opened`, which closes them."""

    config: AgentConfig
    settings: PipelineAgentSettings
    shared: SharedServices
    opened: AsyncExitStack
    _prepare: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list, init=False)

    async def open(self) -> Stages:
        """The stages. Raises ProviderError when one cannot be opened, ConfigError where a key is missing."""
        with installed("voice activity", "pipeline"):
            from agentd_providers.local.engines import open_turn_cues
        cues = await self.opened.enter_async_context(open_turn_cues(self.settings.turn, self.shared))
        self._prepare.append(cues.load)
        return Stages(
            cues=cues,
            listen=await self._listen(),
            think=await self._think(),
            speak=await self._speak(),
            prepare=tuple(self._prepare),
            distant=self.settings.speak is not Speech.LOCAL,
            takes_tools=self.settings.takes_tools,
        )

    async def _listen(self) -> SpeechToText:
        settings, shared, language = self.settings, self.shared, self.config.language
        enter = self.opened.enter_async_context
        match settings.listen:
            case Speech.LOCAL:
                from agentd_providers.local.engines import open_local_listen

                engine = await enter(open_local_listen(settings.listen_local, language, shared))
                self._prepare.append(engine.load)
                return engine
            case Speech.DEEPGRAM:
                from agentd_providers.deepgram.listen import open_deepgram_listen

                return await enter(open_deepgram_listen(settings.listen_deepgram, language, shared))
            case Speech.OPENAI:
                from agentd_providers.openai.listen import open_openai_listen

                return await enter(open_openai_listen(settings.listen_openai, language, shared))
            case Speech.WYOMING:
                from agentd_providers.wyoming.listen import open_wyoming_listen

                return await enter(open_wyoming_listen(settings.listen_wyoming, language, shared))

    async def _think(self) -> LanguageModel:
        settings, enter = self.settings, self.opened.enter_async_context
        with installed("the openai client", "pipeline"):
            from agentd_providers.openai.chat import open_chat
        match settings.think:
            case Think.EMBEDDED:
                from agentd_providers.local.embedded import open_embedded, read_prompt

                model = await enter(open_embedded(settings.think_embedded, self.config.language, self.shared))
                self._prepare.append(partial(read_prompt, model, self.config.prompt))
                return model
            case Think.OPENAI:
                return await enter(open_chat(settings.think_openai))

    async def _speak(self) -> TextToSpeech:
        settings, shared, language = self.settings, self.shared, self.config.language
        enter = self.opened.enter_async_context
        match settings.speak:
            case Speech.LOCAL:
                from agentd_providers.local.engines import open_local_speak

                return await enter(open_local_speak(settings.speak_local, language, shared))
            case Speech.DEEPGRAM:
                from agentd_providers.deepgram.speak import open_deepgram_speak

                return await enter(open_deepgram_speak(settings.speak_deepgram, language, shared))
            case Speech.OPENAI:
                from agentd_providers.openai.speak import open_openai_speak

                return await enter(open_openai_speak(settings.speak_openai, language, shared))
            case Speech.WYOMING:
                from agentd_providers.wyoming.speak import open_wyoming_speak

                return await enter(open_wyoming_speak(settings.speak_wyoming, language, shared))
