"""The things that a configuration can name because they are built in or an installed package adds them: agents'
providers, stages of their pipelines, kinds of tools. Imports nothing of what it finds until it is asked for.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

import attrs

from agentd.errors import ConfigError

T = TypeVar("T")


@cache
def installed(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, as they were when the process first asked."""
    return {point.name: point for point in entry_points(group=group)}


def no_such(what: str, name: str, names: Collection[str]) -> ConfigError:
    """The error for a name that is none of `names`; it tells the nearest one, or all."""
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    return ConfigError(f"there is no {what} {name!r}; {hint}")


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Around a question to what an installed package may have brought: whatever that raises becomes a ConfigError that
    names `what`. Iterate in the block what it gives."""
    try:
        yield
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what} has a defect: {type(error).__name__}: {error}") from error


@attrs.frozen
class Registry(Generic[T]):
    """The things of one sort by name. A package adds one by an entry point of `group`, whose value is a `sort`.

    `what` names the sort in messages. A built-in entry keeps its name, whatever a package calls its own.
    """

    what: str
    group: str
    sort: type[T]
    built_in: Mapping[str, T]

    def names(self) -> tuple[str, ...]:
        """Every name, those included whose package turns out to be broken."""
        return tuple(sorted({*self.built_in, *installed(self.group)}))

    def find(self, name: str) -> T:
        """The entry of this name; a package's module is imported now.

        Raises ConfigError if there is none (with the nearest name), and if the package's entry point cannot be loaded
        or is something else.
        """
        if name in self.built_in:
            return self.built_in[name]
        point = installed(self.group).get(name)
        if point is None:
            raise no_such(self.what, name, self.names())
        entry = f"the entry point {point.value} of the {self.what} {name!r}"
        try:
            found = point.load()
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything, and must not stop the others
            raise ConfigError(f"{entry} cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(found, self.sort):
            raise ConfigError(f"{entry} is no {self.sort.__module__}.{self.sort.__qualname__}")
        return found
