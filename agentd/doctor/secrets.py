"""Where a secret comes from: this shell's environment, its systemd credentials, or those of the installed service.
Never what it is."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from agentd.config.secrets import ARI_PASSWORD, Secret, credential_name, find_secret
from agentd.doctor.findings import Finding, fail, ok
from agentd.errors import ConfigError

_DIRECTORY: Final = "CREDENTIALS_DIRECTORY"


@attrs.frozen
class Located:
    """A secret, and where it was found, for people."""

    secret: Secret
    where: str


def locate(name: str, environ: Mapping[str, str], credentials: Path) -> Located | None:
    """Look a secret up as the daemon does, and then in `credentials`, the directory that the unit's LoadCredential=
    reads: root may. None where it is nowhere. Raises ConfigError when a credential is there but cannot be read, or is
    empty."""
    directory = environ.get(_DIRECTORY, "")
    if directory and (secret := find_secret(name, {_DIRECTORY: directory})):
        return Located(secret, f"in the credential {Path(directory) / credential_name(name)}")
    if secret := find_secret(name, {name: environ.get(name, "")}):
        return Located(secret, f"in the environment variable {name} of this shell")
    if os.access(credentials, os.X_OK) and (secret := find_secret(name, {_DIRECTORY: str(credentials)})):
        return Located(secret, f"in the credential {credentials / credential_name(name)}")
    return None


def is_sendable(secret: Secret) -> bool:
    """Whether a key can be the value of a header; what cannot is a file of another kind."""
    value = secret.reveal()
    return value.isascii() and value.isprintable() and value == value.strip()


def examine_password(environ: Mapping[str, str], credentials: Path) -> tuple[Secret | None, Finding]:
    """The ARI password, None if there is none."""
    path = credentials / credential_name(ARI_PASSWORD)
    try:
        located = locate(ARI_PASSWORD, environ, credentials)
    except ConfigError as error:
        return None, fail("secrets", f"the ARI password: {error}", f"ls -l {path}")
    if located is None:
        return None, fail(
            "secrets",
            f"the ARI password is missing: neither the environment has {ARI_PASSWORD} nor systemd the credential "
            f"{path.name}",
            f"on a PBX host run the doctor as root: it reads {path}",
            "`agentd init` makes the ARI password and brings it into ari_agentd.conf",
            f"anywhere else: export {ARI_PASSWORD}=...",
        )
    return located.secret, ok("secrets", f"the ARI password: {located.where}")


def how_to_give(name: str, credentials: Path) -> tuple[str, ...]:
    """The advice on how to give the daemon a secret. Pure."""
    path = credentials / credential_name(name)
    return (
        f"on a PBX host, as root: install -m 600 /dev/stdin {path}\nthen paste it, Enter and Ctrl-D",
        handing_over(name, credentials),
        f"anywhere else: export {name}=...",
    )


def handing_over(name: str, credentials: Path) -> str:
    """How the service is given a credential whose file is there. Pure."""
    credential = credential_name(name)
    return (
        f"systemctl edit agentd, below [Service]: LoadCredential={credential}:{credentials / credential}\n"
        "then: agentd check && systemctl restart agentd"
    )


def is_handed_over(name: str, unit: str) -> bool:
    """Whether a unit with this text (`systemctl cat`) is given the secret, as far as a text can tell. Pure."""
    credential = credential_name(name)
    for line in unit.splitlines():
        key, _, value = line.strip().partition("=")
        if key == "ImportCredential":
            return True
        if key.startswith(("LoadCredential", "SetCredential")) and value.partition(":")[0] == credential:
            return True
    return False
