"""Where the agentd that is running is installed, and what installed it, so that a command that a message names works on
this host.

Sources: `sys.prefix` (PEP 405), `RECORD` and `direct_url.json` of the installed distribution (PEP 376, PEP 610),
`EXTERNALLY-MANAGED` (PEP 668), and `pipx_metadata.json`, which pipx writes into each of its environments.
"""

import os
import shlex
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from agentd.errors import ProviderUnavailable
from agentd.parsing import load_json

DISTRIBUTION: Final = "asterisk-agentd"
"""Its name for pip. The command and the import names have names of their own."""
COMMAND: Final = "agentd"
LINK: Final = "venv"
"""Beside the environments that systemd/install-host makes, the link that leads to the one in use."""


class Installer(StrEnum):
    """The tools that can add packages to an environment."""

    PIPX = "pipx"
    PIP = "pip"
    SYSTEM_PIP = "pip, into an interpreter that the distribution's packages manage"
    UV = "uv"
    """No pip is in the environment; uv makes such ones."""


@attrs.frozen
class Installation:
    """An agentd and the Python environment that it is in.

    `environment` is the virtual environment, or the interpreter's own prefix. `python` starts an interpreter in it, and
    `program` is the entry script; both by a path that outlives an upgrade, where there is one. `program` is None where
    agentd runs from a source tree that nobody installed. `origin` is what pip was given: a wheel, a directory or a URL,
    or else the distribution's name. `parts` are files that starting it reads: of the interpreter's library, of agentd.
    """

    environment: Path
    python: Path
    program: Path | None
    installer: Installer
    origin: str = DISTRIBUTION
    parts: tuple[Path, ...] = ()

    def adding(self, extra: str) -> str:
        """The shell command that brings what an extra of the distribution names into this environment. Pure.

        The agentd that is installed already satisfies pip, so no wheel and no index has to be found for it.
        """
        wanted = shlex.quote(f"{DISTRIBUTION if self.program else self.origin}[{extra}]")
        python = shlex.quote(str(self.python))
        match self.installer:
            case Installer.PIPX:
                home = shlex.quote(str(self.environment.parent.parent))
                return f"PIPX_HOME={home} pipx runpip {shlex.quote(self.environment.name)} install {wanted}"
            case Installer.PIP:
                return f"{python} -m pip install {wanted}"
            case Installer.SYSTEM_PIP:
                return f"{python} -m pip install --break-system-packages {wanted}"
            case Installer.UV:
                return f"uv pip install --python {python} {wanted}"


def how_to_add(extra: str) -> str:
    """The shell command that adds an extra to the installation that runs this."""
    return running_installation().adding(extra)


@contextmanager
def installed(what: str, extra: str) -> Iterator[None]:
    """Import in here what an extra brings. Raises ProviderUnavailable, saying how to add it, where it is not there."""
    try:
        yield
    except ImportError as error:
        raise ProviderUnavailable(f"{what} is not installed: {error}; {how_to_add(extra)}") from error


def running_installation() -> Installation:
    """The installation that this process runs from. Reads the file system."""
    environment, package = Path(sys.prefix), Path(__file__).parent
    try:
        found: Distribution | None = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        found = None
    if found is not None and not _is_of(package, found):
        found = None
    program = None if found is None else _entry_script(found)
    return Installation(
        environment,
        lasting(Path(os.path.normpath(sys.executable))),
        program and lasting(program),
        _installer(environment),
        str(package.parent) if found is None else _origin(found),
        (Path(os.__file__), Path(__file__)),
    )


def lasting(path: Path) -> Path:
    """The same file by the link that systemd/install-host moves, if `path` is in the environment it leads to now."""
    environment = Path(sys.prefix)
    link = environment.with_name(LINK)
    if link.is_symlink() and path.is_relative_to(environment) and link.resolve() == environment.resolve():
        return link / path.relative_to(environment)
    return path


def _installer(environment: Path) -> Installer:
    if (environment / "pipx_metadata.json").is_file():
        return Installer.PIPX
    if find_spec("pip") is None:
        return Installer.UV
    managed = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return Installer.SYSTEM_PIP if sys.prefix == sys.base_prefix and managed.exists() else Installer.PIP


def _is_of(package: Path, found: Distribution) -> bool:
    """Whether the package that was imported is the distribution's: a source tree may stand before it on the path."""
    own = Path(str(found.locate_file(package.name)), "__init__.py")
    if not own.exists():  # an editable installation has no files of its own
        return _origin(found) == str(package.parent)
    return own.samefile(package / "__init__.py")


def _entry_script(found: Distribution) -> Path | None:
    for file in found.files or ():
        if file.name == COMMAND and file.parent.name in ("bin", "Scripts"):
            return Path(os.path.normpath(str(found.locate_file(file))))
    return None


def _origin(found: Distribution) -> str:
    url = load_json(found.read_text("direct_url.json") or "{}").get("url", "")
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" else url or DISTRIBUTION
