"""The local agent: a pipeline whose stages are all on this host (its language model may be on a server)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from agentd.config.settings import AgentConfig
from agentd.installation import installed
from agentd_providers.local.settings import USUAL_MODEL as USUAL_MODEL
from agentd_providers.local.settings import LlmSettings, LocalSettings
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.agent import PipelineAgent, Stages, open_agent, pipeline_settings
from agentd_providers.shared import SharedServices


@asynccontextmanager
async def open_local_agent(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[PipelineAgent]:
    """The agent with its engines loaded. Raises ProviderError when one cannot be loaded, ConfigError where the key of
    the language model's server is missing."""
    settings = config.settings
    assert isinstance(settings, LocalSettings)
    with installed("the local agent", "local"):
        from agentd_providers.local.embedded import open_embedded, read_prompt
        from agentd_providers.local.engines import open_local_listen, open_local_speak, open_turn_cues
        from agentd_providers.openai.chat import open_chat
    llm, language = settings.llm, config.language
    async with AsyncExitStack() as opened:
        listen = await opened.enter_async_context(open_local_listen(settings.stt, language, shared))
        speak = await opened.enter_async_context(open_local_speak(settings.tts, language, shared))
        cues = await opened.enter_async_context(open_turn_cues(settings.turn, shared))
        prepare: list[Callable[[], Awaitable[None]]] = [listen.load, cues.load]
        if llm.base_url:
            chat = open_chat(_chat(llm), transcript_style=llm.transcript_style)
            model = await opened.enter_async_context(chat)
        else:
            embedded = open_embedded(llm.embedded, language, shared, chat=not llm.transcript_style)
            model = await opened.enter_async_context(embedded)
            prepare.append(partial(read_prompt, model, config.prompt))
        stages = Stages(listen, model, speak, cues, prepare, distant=False, takes_tools=settings.takes_tools)
        turn, window_ms = settings.turn, cues.window_ms
        session = pipeline_settings(config, turn, settings.end_phrases, settings.farewell, window_ms)
        yield await opened.enter_async_context(open_agent(name, config, session, stages, shared))


def _chat(settings: LlmSettings) -> ChatSettings:
    return ChatSettings(
        api_key_name=settings.api_key_name,
        base_url=settings.base_url,
        model=settings.model,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        timeout=settings.timeout,
    )
