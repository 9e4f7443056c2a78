"""Makes an agent of the stages that were chosen: opens their engines, and prepares them for the first call."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import attrs
import structlog
import trio

from agentd.config.settings import AgentConfig
from agentd.errors import AgentdError, ProviderRejected, ungrouped
from agentd_providers.pipeline.agent import PipelineAgent, Preparation, Stages, open_agent, pipeline_settings
from agentd_providers.pipeline.rows import Chosen, ListenStage, SpeakStage, ThinkStage
from agentd_providers.pipeline.stages import TurnCues
from agentd_providers.shared import SharedServices
from agentd_providers.text_normalisation.normaliser import TextNormaliser
from agentd_providers.text_normalisation.tables import open_language
from agentd_providers.turns.settings import TurnSettings

log = structlog.get_logger("agentd_providers.pipeline")


@attrs.frozen
class Assembly:
    """The settings that an agent's stages are opened with. `open_cues` opens what turns are taken by."""

    listen: Chosen[ListenStage]
    think: Chosen[ThinkStage]
    speak: Chosen[SpeakStage]
    open_cues: Callable[[], AbstractAsyncContextManager[TurnCues]]
    turn: TurnSettings
    end_phrases: Sequence[str]
    farewell: str
    lexicon: Mapping[str, str]


@asynccontextmanager
async def open_assembly(
    name: str, config: AgentConfig, shared: SharedServices, parts: Assembly
) -> AsyncIterator[PipelineAgent]:
    """The agent, ready for its first call. Raises ProviderError when a stage cannot be opened or prepared, for whatever
    reason, and ConfigError where a key is missing."""
    with ungrouped(AgentdError):  # out of the nurseries of those stages that are open already
        async with AsyncExitStack() as opened:
            stages = await _open_stages(opened, config, shared, parts)
            window_ms = stages.cues.window_ms
            settings = await trio.to_thread.run_sync(
                pipeline_settings, config, parts.turn, parts.end_phrases, parts.farewell, window_ms
            )
            settings = attrs.evolve(settings, text=await _open_text(config.language, parts))
            yield await opened.enter_async_context(open_agent(name, config, settings, stages, shared))


async def _open_text(language: str, parts: Assembly) -> TextNormaliser:
    """How texts are spoken by the voice that was chosen."""
    known = await trio.to_thread.run_sync(open_language, language)
    speak = parts.speak.stage
    return TextNormaliser(known, parts.lexicon, reads_numbers=speak.reads_numbers, takes_ipa=speak.takes_ipa)


async def _open_stages(opened: AsyncExitStack, config: AgentConfig, shared: SharedServices, parts: Assembly) -> Stages:
    prepare: list[Preparation] = []

    async def enter(chosen: Chosen[Any]) -> Any:
        stage = chosen.stage
        with _blaming(chosen.name):
            engine = await opened.enter_async_context(stage.open(chosen.settings, config, shared))
        if stage.prepare is not None:
            prepare.append(partial(_prepare, chosen, engine, config))
        return engine

    listen, think, speak = await enter(parts.listen), await enter(parts.think), await enter(parts.speak)
    cues = await opened.enter_async_context(parts.open_cues())
    prepare.append(cues.load)
    sentences = (parts.think.stage.sentences(think), cues.sentences)
    return Stages(
        listen=listen,
        think=think,
        speak=speak,
        cues=cues,
        prepare=prepare,
        distant=parts.speak.stage.distant,
        takes_tools=parts.think.stage.takes_tools(parts.think.settings),
        sentences=[judge for judge in sentences if judge is not None],
    )


async def _prepare(chosen: Chosen[Any], engine: object, config: AgentConfig) -> None:
    with _blaming(chosen.name):
        await chosen.stage.prepare(engine, config)


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Around the code of a stage, which may be anybody's: a bug in it is its agent's failure, and not the daemon's."""
    try:
        yield
    except Exception as error:
        others = error.split(AgentdError)[1] if isinstance(error, ExceptionGroup) else error
        if others is None or isinstance(others, AgentdError):
            raise
        log.exception("a stage failed inside its engine", stage=name)
        raise ProviderRejected(f"the stage {name} failed: {type(error).__name__}: {error}") from error
