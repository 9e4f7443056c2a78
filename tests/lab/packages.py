"""Packages as users install them: built, and installed where the source tree is not on the path."""

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARROT = ROOT / "tests" / "parrot"
"""The example of a provider, docs/providers.md."""
_OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")


def parrot_agent(greeting: str = "") -> str:
    """The parrot as the default agent of agent.toml, which speaks when it is spoken to."""
    return f"""[agents.default]
provider = "parrot"
greeting = "{greeting}"
[agents.default.liveness]
check_in_after = 0
filler = ""
"""


class NotInstalled(Exception):
    """pip has refused; the message is what it said."""


def install(package: Path, directory: Path) -> Path:
    """Build a package of this source tree and install it, without the network, into `directory`, for PYTHONPATH."""
    _pip(["install", *_OFFLINE, "--no-build-isolation", "--target", str(directory), str(package)])
    return directory


def build_wheel(package: Path, directory: Path) -> Path:
    """Build a package's wheel, without the network, into a directory of its own."""
    _pip(["wheel", *_OFFLINE, "--no-build-isolation", "--wheel-dir", str(directory), str(package)])
    (wheel,) = directory.glob("*.whl")
    return wheel


def environment_with(wheel: Path, directory: Path) -> Path:
    """A virtual environment with the wheel installed; gives its interpreter.

    What the wheel needs comes from the environment that the tests run in. The source tree, which is installed there
    too, does not: Python reads the .pth files of an environment's own site-packages only (docs of `site`).
    """
    venv.create(directory, symlinks=True)
    python = directory / "bin" / "python"
    _pip(["--python", str(python), "install", *_OFFLINE, str(wheel)])
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def pretend(site: Path, lock: Path) -> None:
    """Have pip find what a lock file wants in a directory for packages: by their names and versions only."""
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text("utf-8"), re.MULTILINE):
        directory = site / f"{name.replace('-', '_')}-{version}.dist-info"
        directory.mkdir(exist_ok=True)
        (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _pip(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, timeout=180)
    if done.returncode:
        raise NotInstalled(f"pip {' '.join(arguments)}: {done.stdout}{done.stderr}")
