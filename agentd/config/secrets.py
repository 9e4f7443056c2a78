"""Secrets: from the environment or from systemd credentials, never from files of settings, argv or URLs.

A secret is named like an environment variable, AGENTD_ARI_PASSWORD. The systemd credential of the same secret is
the name in lower case with hyphens, without the prefix: `LoadCredential=ari-password:/path` (systemd.exec(5)).
"""

from collections.abc import Mapping
from pathlib import Path

import attrs

from agentd.environment import INHERITED
from agentd.errors import ConfigError
from agentd.parsing import mended

ARI_PASSWORD = "AGENTD_ARI_PASSWORD"
"""The secret that every daemon needs: the password of its user in ari.conf."""
MAX_SECRET = 64 * 1024


@attrs.frozen
class Secret:
    """A secret's value, kept out of logs and tracebacks: its repr shows only the name."""

    name: str
    _value: str = attrs.field(repr=False)

    def reveal(self) -> str:
        """The value itself, for the one place that needs it."""
        return self._value

    def __str__(self) -> str:
        return f"<secret {self.name}>"


def credential_name(name: str) -> str:
    """The systemd credential that stands for a secret."""
    return name.removeprefix("AGENTD_").lower().replace("_", "-")


def find_secret(name: str, environ: Mapping[str, str] = INHERITED) -> Secret | None:
    """Look a secret up: the systemd credential first, then the environment; None where neither has it.

    The environment is the one that agentd was started with. In a running daemon os.environ holds no secret: what a
    child process does not need is withheld there (agentd.environment).

    Raises ConfigError when a credential is there but cannot be read, or is empty, and for what is no text.
    """
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        path = Path(directory) / credential_name(name)
        try:
            value = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            pass  # not every secret has to be a credential
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the credential {path} cannot be read: {error}") from error
        else:
            if not 0 < len(value) <= MAX_SECRET:
                raise ConfigError(f"the credential {path} holds {len(value)} characters, not 1 to {MAX_SECRET}")
            return Secret(name, value)
    value = environ.get(name, "")
    if mended(value) != value:  # bytes that are no UTF-8 (PEP 383): no header and no request can hold them
        raise ConfigError(f"the environment variable {name} is not UTF-8 text")
    return Secret(name, value) if value else None


def need_secret(name: str, what: str, environ: Mapping[str, str] = INHERITED) -> Secret:
    """The same, but raises ConfigError where there is none, saying how to give it."""
    if secret := find_secret(name, environ):
        return secret
    raise ConfigError(
        f"{what} is missing: set the environment variable {name}, "
        f"or give the systemd credential {credential_name(name)!r} (LoadCredential=)"
    )
