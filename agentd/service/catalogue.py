"""The catalogue of this host for the configuration: the one place where the registries meet it."""

from agentd.config.catalogue import Catalogue, Choices
from agentd.tools.registry import KINDS
from agentd.transports import transport_names
from agentd_providers.registry import PROVIDERS
from agentd_providers.stage_registry import STAGES
from agentd_providers.wyoming.server.settings import SpeechServerSettings


def installed_catalogue() -> Catalogue:
    """Everything that an agent.toml can name here. Imports the modules of third parties' entry points, and no
    engine."""
    return Catalogue(
        providers=Choices.of(PROVIDERS),
        stages=Choices.of(STAGES),
        tools=Choices.of(KINDS),
        speech_server=SpeechServerSettings,
        transports=transport_names(),
    )
