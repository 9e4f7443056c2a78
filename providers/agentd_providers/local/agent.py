"""The local agent: a pipeline whose stages are all on this host (its language model may be on a server)."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from agentd.config.settings import AgentConfig
from agentd.installation import installed
from agentd_providers.local.settings import USUAL_MODEL as USUAL_MODEL
from agentd_providers.local.settings import EmbeddedSettings, LlmSettings, LocalSettings
from agentd_providers.local.stages import LISTEN, SPEAK, open_cues, open_embedded_model, read_prompt
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.stages import begin_warm_up, sentences_of
from agentd_providers.pipeline.agent import PipelineAgent
from agentd_providers.pipeline.assembly import Assembly, open_assembly
from agentd_providers.pipeline.rows import Chosen, ThinkStage
from agentd_providers.pipeline.stages import LanguageModel
from agentd_providers.shared import SharedServices


@asynccontextmanager
async def open_local_agent(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[PipelineAgent]:
    """The agent with its engines loaded. Raises ProviderError when one cannot be loaded, ConfigError where the key of
    the language model's server is missing."""
    settings = config.settings
    assert isinstance(settings, LocalSettings)
    parts = Assembly(
        listen=Chosen("stt", LISTEN, settings.stt),
        think=_language_model(settings.llm, takes_tools=settings.takes_tools),
        speak=Chosen("tts", SPEAK, settings.tts),
        open_cues=partial(open_cues, settings.turn, shared, language=config.language if settings.llm.base_url else ""),
        turn=settings.turn,
        end_phrases=settings.end_phrases,
        farewell=settings.farewell,
        lexicon=settings.lexicon,
    )
    async with open_assembly(name, config, shared, parts) as agent:
        yield agent


def _language_model(llm: LlmSettings, *, takes_tools: bool) -> Chosen[ThinkStage]:
    """On a server or embedded; both may be asked in the form of a chat or of a transcript, which has none for tools."""
    chat = not llm.transcript_style

    def open_server(
        settings: ChatSettings, _config: AgentConfig, shared: SharedServices
    ) -> AbstractAsyncContextManager[LanguageModel]:
        with installed("the openai client", "pipeline"):
            from agentd_providers.openai.chat_model import open_chat
        return open_chat(settings, shared, transcript_style=not chat)

    def tools(_settings: Any) -> bool:
        return takes_tools

    if llm.base_url:
        on_server = ThinkStage(
            ChatSettings, open_server, takes_tools=tools, prepare=begin_warm_up, sentences=sentences_of
        )
        return Chosen("llm", on_server, _asked(llm))
    open_own = partial(open_embedded_model, chat=chat)
    stage = ThinkStage(EmbeddedSettings, open_own, prepare=read_prompt, takes_tools=tools)
    return Chosen("llm", stage, llm.embedded)


def _asked(llm: LlmSettings) -> ChatSettings:
    return ChatSettings(
        api_key_name=llm.api_key_name,
        base_url=llm.base_url,
        model=llm.model,
        temperature=llm.temperature,
        max_tokens=llm.max_tokens,
        timeout=llm.timeout,
    )
