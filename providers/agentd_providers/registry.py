"""Which providers there are: name -> (settings class, lazy opener). Imports no engine.

A third-party package joins through the entry point group `agentd.providers`: the entry point's name is the
provider's, its value a `Provider`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import attrs

from agentd.agent import Agent
from agentd.config.settings import AgentConfig
from agentd.plugins import Registry
from agentd_providers.credentials import Credential
from agentd_providers.deepgram.voice_agent.settings import DeepgramAgentSettings
from agentd_providers.deepgram.voice_agent.settings import credentials as deepgram_credentials
from agentd_providers.local.needs import local_needs
from agentd_providers.local.settings import LocalSettings, local_credentials
from agentd_providers.needs import Need
from agentd_providers.openai.realtime.settings import RealtimeSettings
from agentd_providers.openai.realtime.settings import credentials as realtime_credentials
from agentd_providers.pipeline_settings import PipelineAgentSettings, pipeline_credentials, pipeline_needs
from agentd_providers.rehearsal import Rehearsal

if TYPE_CHECKING:
    from agentd_providers.shared import SharedServices

ENTRY_POINT_GROUP = "agentd.providers"

Opener = Callable[[str, AgentConfig, "SharedServices"], AbstractAsyncContextManager[Agent]]


@attrs.frozen
class Provider:
    """`settings` is an attrs class as agentd.config.schema describes; `open(name, config, shared)` gives the agent,
    with its engines running, for as long as its block is entered. `credentials(settings)` is what it needs to be let
    in; `takes_tools(settings)`, whether its model can use tools; `needs(settings)`, what it needs on this host. Those
    open nothing and import no engine. `rehearse(agent)` has an open agent answer nobody, so that the doctor can tell
    how long its engines take here (agentd_providers.rehearsal); None where that tells nothing of this host.
    """

    settings: type
    open: Opener
    credentials: Callable[[Any], Sequence[Credential]] = lambda _settings: ()
    takes_tools: Callable[[Any], bool] = lambda _settings: True
    needs: Callable[[Any], Sequence[Need]] = lambda _settings: ()
    rehearse: Callable[[Any], Awaitable[Rehearsal]] | None = None


def _open_local(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.local.agent import open_local_agent

    return open_local_agent(name, config, shared)


def _open_pipeline(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.pipeline_stages import open_pipeline_agent

    return open_pipeline_agent(name, config, shared)


def _rehearse(agent: Any) -> Awaitable[Rehearsal]:
    from agentd_providers.pipeline.rehearse import rehearse

    return rehearse(agent)


def _takes_tools(settings: LocalSettings | PipelineAgentSettings) -> bool:
    return settings.takes_tools


def _open_deepgram(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.deepgram.voice_agent.agent import open_deepgram_agent

    return open_deepgram_agent(name, config, shared)


def _open_realtime(name: str, config: AgentConfig, shared: "SharedServices") -> AbstractAsyncContextManager[Agent]:
    from agentd_providers.openai.realtime.agent import open_realtime_agent

    return open_realtime_agent(name, config, shared)


BUILT_IN: Mapping[str, Provider] = {
    "local": Provider(LocalSettings, _open_local, local_credentials, _takes_tools, local_needs, _rehearse),
    "pipeline": Provider(
        PipelineAgentSettings, _open_pipeline, pipeline_credentials, _takes_tools, pipeline_needs, _rehearse
    ),
    "deepgram": Provider(DeepgramAgentSettings, _open_deepgram, deepgram_credentials),
    "openai_realtime": Provider(RealtimeSettings, _open_realtime, realtime_credentials),
}


PROVIDERS = Registry("provider", ENTRY_POINT_GROUP, Provider, BUILT_IN)


def provider_names() -> tuple[str, ...]:
    """Every provider that is installed."""
    return PROVIDERS.names()


def find_provider(name: str) -> Provider:
    """The provider of this name. Raises ConfigError if there is none (with the nearest name), or it is broken."""
    return PROVIDERS.find(name)
