"""The names that a configuration can use on this host, as data: for reading agent.toml, for its sample and its schema.

The configuration knows neither providers nor tools nor transports; who assembles agentd tells it what there is.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import attrs

from agentd.config.rendering import json_schema
from agentd.errors import ConfigError
from agentd.plugins import Registry, no_such


class HasSettings(Protocol):
    """The things that a table of their own configures."""

    @property
    def settings(self) -> type:
        """An attrs class as agentd.config.schema describes."""
        ...


S = TypeVar("S", bound=HasSettings)


@attrs.frozen
class Choices:
    """Everything of one sort that can be chosen, by name: a settings class, or the reason why it cannot be used.

    `what` names the sort in messages. The sample shows those that are `built_in`, in their order.
    """

    what: str
    known: Mapping[str, type | ConfigError]
    built_in: tuple[str, ...] = ()

    @classmethod
    def of(cls, registry: Registry[Any]) -> "Choices":
        """The entries of one registry. A package's module is imported; one that is broken is a reason, not an error."""
        known = {name: settings_class(registry, name) for name in registry.names()}
        return cls(registry.what, known, tuple(registry.built_in))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, those that cannot be used included."""
        return tuple(self.known)

    @property
    def usable(self) -> Mapping[str, type]:
        """The settings class by name, of all that can be used."""
        return {name: found for name, found in self.known.items() if not isinstance(found, ConfigError)}

    @property
    def broken(self) -> Mapping[str, ConfigError]:
        """The reason by name, of all that cannot be used."""
        return {name: found for name, found in self.known.items() if isinstance(found, ConfigError)}

    def settings(self, name: str) -> type:
        """The settings class. Raises ConfigError if there is none (with the nearest name), or it cannot be used."""
        found = self.known.get(name)
        if found is None:
            raise no_such(self.what, name, self.names)
        if isinstance(found, ConfigError):
            raise ConfigError(str(found)) from found
        return found


@attrs.frozen
class Catalogue:
    """The catalogue of this host: agents' providers, the stages of pipelines, kinds of tools, the settings class of
    [speech_server], and the names of the transports."""

    providers: Choices
    stages: Choices
    tools: Choices
    speech_server: type
    transports: tuple[str, ...]

    def problems(self) -> tuple[str, ...]:
        """Installed things that cannot be used, one line each; a configuration that does not name them need not
        mind."""
        return tuple(str(error) for sort in (self.providers, self.stages, self.tools) for error in sort.broken.values())


def settings_class(registry: Registry[S], name: str) -> type | ConfigError:
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
