"""The provider `pipeline`: an agent of the stages that its settings choose.

Which packages are needed depends on the choice, so a stage's engine is imported only when it is opened.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from agentd.config.settings import AgentConfig
from agentd_providers.local.stages import EMBEDDED, open_cues
from agentd_providers.pipeline.agent import PipelineAgent
from agentd_providers.pipeline.assembly import Assembly, open_assembly
from agentd_providers.pipeline_settings import PipelineAgentSettings
from agentd_providers.shared import SharedServices
from agentd_providers.stage_registry import LISTEN, SPEAK, THINK


@asynccontextmanager
async def open_pipeline_agent(name: str, config: AgentConfig, shared: SharedServices) -> AsyncIterator[PipelineAgent]:
    """The agent that its settings put together. Raises ProviderError when a stage cannot be opened, ConfigError where
    a key is missing."""
    settings = config.settings
    assert isinstance(settings, PipelineAgentSettings)
    other = "" if settings.chosen(THINK).stage is EMBEDDED else config.language
    parts = Assembly(
        listen=settings.chosen(LISTEN),
        think=settings.chosen(THINK),
        speak=settings.chosen(SPEAK),
        open_cues=partial(open_cues, settings.turn, shared, language=other),
        turn=settings.turn,
        end_phrases=settings.end_phrases,
        farewell=settings.farewell,
        lexicon=settings.lexicon,
    )
    async with open_assembly(name, config, shared, parts) as agent:
        yield agent
