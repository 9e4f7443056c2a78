"""Which providers there are: name -> (settings class, lazy opener). Imports no engine.

A third-party package joins through the entry point group `agentd.providers`: the entry point's name is the
provider's, its value a `Provider`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import attrs

from agentd.agent import Agent
from agentd.config.settings import AgentConfig
from agentd.errors import ConfigError
from agentd_providers.credentials import Credential
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.deepgram.voice_agent.settings import credentials as deepgram_credentials
from agentd_providers.local.settings import LocalSettings, local_credentials
from agentd_providers.openai.realtime.settings import RealtimeSettings
from agentd_providers.openai.realtime.settings import credentials as realtime_credentials
from agentd_providers.pipeline_settings import PipelineAgentSettings, pipeline_credentials

if TYPE_CHECKING:
    from agentd_providers.shared import SharedServices

ENTRY_POINT_GROUP = "agentd.providers"

Opener = Callable[[str, AgentConfig, "SharedServices"], AbstractAsyncContextManager[Agent]]


@attrs.frozen
class Provider:
    """`settings` is an attrs class as agentd.config.schema describes; `open(name, config, shared)` gives the agent,
    with its engines running, for as long as its block is entered. `credentials(settings)` is what it needs to be let
    in; `takes_tools(settings)`, whether its model can use tools."""

    settings: type
    open: Opener
    credentials: Callable[[Any], Sequence[Credential]] = lambda _settings: ()
    takes_tools: Callable[[Any], bool] = lambda _settings: True


def _open_local(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.local.agent import open_local_agent

    return open_local_agent(name, config, shared)


def _open_pipeline(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.pipeline_stages import open_pipeline_agent

    return open_pipeline_agent(name, config, shared)


def _takes_tools(settings: LocalSettings | PipelineAgentSettings) -> bool:
    return settings.takes_tools


def _open_deepgram(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.deepgram.voice_agent.agent import open_deepgram_agent

    return open_deepgram_agent(name, config, shared)


def _open_realtime(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.openai.realtime.agent import open_realtime_agent

    return open_realtime_agent(name, config, shared)


BUILT_IN: Mapping[str, Provider] = {
    "local": Provider(LocalSettings, _open_local, local_credentials, _takes_tools),
    "pipeline": Provider(PipelineAgentSettings, _open_pipeline, pipeline_credentials, _takes_tools),
    "deepgram": Provider(DeepgramAgentSettings, _open_deepgram, deepgram_credentials),
    "openai_realtime": Provider(RealtimeSettings, _open_realtime, realtime_credentials),
}


@cache
def _third_party() -> Mapping[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def provider_names() -> tuple[str, ...]:
    """Every provider that is installed."""
    return tuple(sorted({*BUILT_IN, *_third_party()}))


def find_provider(name: str) -> Provider:
    """The provider of this name. Raises ConfigError, with the nearest name, if there is none."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    if point := _third_party().get(name):
        provider = point.load()
        if not isinstance(provider, Provider):
            raise ConfigError(
                f"the entry point {point.value} of provider {name!r} is no agentd_providers.registry.Provider"
            )
        return provider
    near = get_close_matches(name, provider_names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(provider_names())}"
    raise ConfigError(f"there is no provider {name!r}{hint}")


def settings_class(name: str) -> type:
    """The settings class of a provider; loads no engine. Raises ConfigError for an unknown name."""
    return find_provider(name).settings
