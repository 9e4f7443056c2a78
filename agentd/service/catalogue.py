"""What is installed on this host, told to the configuration: the one place where the registries meet it."""

from typing import Any, Protocol

from agentd.config.catalogue import Catalogue, Choices
from agentd.config.sample import json_schema
from agentd.dialplan import MediaWay
from agentd.errors import ConfigError
from agentd.plugins import Registry
from agentd.tools.registry import KINDS
from agentd_providers.registry import PROVIDERS
from agentd_providers.wyoming.server.settings import SpeechServerSettings


class HasSettings(Protocol):
    """What is configured by a table of its own."""

    @property
    def settings(self) -> type:
        """An attrs class as agentd.config.schema describes."""
        ...


def installed_catalogue() -> Catalogue:
    """What an agent.toml can name here. Imports the modules of third parties' entry points, and no engine."""
    return Catalogue(
        providers=_choices(PROVIDERS),
        tools=_choices(KINDS),
        speech_server=SpeechServerSettings,
        transports=tuple(way.value for way in MediaWay),
    )


def _choices(registry: Registry[Any]) -> Choices:
    known = {name: _settings_class(registry, name) for name in registry.names()}
    return Choices(registry.what, known, tuple(registry.built_in))


def _settings_class(registry: Registry[HasSettings], name: str) -> type | ConfigError:
    """The class, once it has been tried out; or why it cannot be used, so that the others can."""
    try:
        settings = registry.find(name).settings
    except ConfigError as error:
        return error
    try:
        settings()
        json_schema(settings)
    except Exception as error:  # noqa: BLE001 - a stranger's class may be anything
        reason = f"its settings class cannot be used: {type(error).__name__}: {error}"
        return ConfigError(f"the {registry.what} {name!r}: {reason}")
    return settings
