"""Third-party packages as users install them: built, and installed beside agentd."""

import subprocess
import sys
from pathlib import Path

PARROT = Path(__file__).parents[1] / "parrot"
"""The example of a provider, docs/providers.md."""


class NotInstalled(Exception):
    """pip has refused; the message is what it said."""


def install(package: Path, directory: Path) -> Path:
    """Build a package of this source tree and install it, without the network, into `directory`, for PYTHONPATH."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(directory), str(package)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise NotInstalled(f"{package}: {done.stdout}{done.stderr}")
    return directory
