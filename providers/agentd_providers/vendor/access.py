"""Our key with a vendor, and whether it lets us in: as its last answer told, since nobody asks it between calls."""

from collections.abc import Callable

import attrs
import trio

from agentd.agent import Readiness
from agentd.config.secrets import need_secret
from agentd.errors import ConfigError

REFUSED_FOR = 60.0
"""Seconds after refused credentials until the next call may try again: a vendor may be wrong, or be told the key."""


@attrs.define(eq=False)
class VendorAccess:
    """One engine's access to its vendor."""

    _refusal: str = attrs.field(default="", init=False)
    _refused_at: float = attrs.field(default=0.0, init=False)
    _clock: Callable[[], float] = trio.current_time

    def granted(self) -> None:
        """The vendor took our credentials."""
        self._refusal = ""

    def refused(self, why: str) -> None:
        """The vendor refused our credentials."""
        self._refusal, self._refused_at = why, self._clock()

    @property
    def readiness(self) -> Readiness:
        if self._refusal and self._clock() - self._refused_at < REFUSED_FOR:
            return Readiness(False, self._refusal)
        return Readiness(True)


def find_key(name: str, vendor: str) -> str:
    """The key of this name, empty where `name` is.

    Raises ConfigError where there is none, or none that a header can hold.
    """
    if not name:
        return ""
    key = need_secret(name, f"the key of {vendor}").reveal()
    if not (key.isascii() and key.isprintable() and key == key.strip()):
        raise ConfigError(f"the key of {vendor} in {name} holds characters that no key has")
    return key
