"""The commands that messages name: each adds to the environment that agentd runs from, whoever made that."""

import os
import subprocess
import sys
import sysconfig
import venv
from importlib import import_module
from pathlib import Path

import pytest

from agentd.errors import ProviderUnavailable
from agentd.installation import Installation, Installer, how_to_add, installed, running_installation

ROOT = Path(__file__).parents[2]
OWN = Path("/opt/agentd/venv")


def installation(installer: Installer, environment: Path = OWN, *, whole: bool = True) -> Installation:
    """One at `environment`; or, not `whole`, an interpreter there that runs a source tree nobody installed."""
    program = environment / "bin/agentd" if whole else None
    return Installation(environment, environment / "bin/python", program, installer, "/src/agentd")


@pytest.mark.parametrize(
    ("made", "command"),
    [
        (installation(Installer.PIP), "/opt/agentd/venv/bin/python -m pip install 'asterisk-agentd[local]'"),
        (
            installation(Installer.PIPX, Path("/opt/pipx/venvs/asterisk-agentd")),
            "PIPX_HOME=/opt/pipx pipx runpip asterisk-agentd install 'asterisk-agentd[local]'",
        ),
        (
            installation(Installer.PIPX, Path("/opt/pipx/venvs/asterisk-agentd-next")),
            "PIPX_HOME=/opt/pipx pipx runpip asterisk-agentd-next install 'asterisk-agentd[local]'",
        ),
        (
            installation(Installer.SYSTEM_PIP, Path("/usr")),
            "/usr/bin/python -m pip install --break-system-packages 'asterisk-agentd[local]'",
        ),
        (installation(Installer.UV), "uv pip install --python /opt/agentd/venv/bin/python 'asterisk-agentd[local]'"),
        (
            installation(Installer.PIP, Path("/srv/my agents")),
            "'/srv/my agents/bin/python' -m pip install 'asterisk-agentd[local]'",
        ),
        (installation(Installer.PIP, whole=False), "/opt/agentd/venv/bin/python -m pip install '/src/agentd[local]'"),
    ],
    ids=["pip", "pipx", "pipx with a suffix", "the system's Python", "no pip", "a blank", "a source tree"],
)
def test_an_extra_is_added_by_what_made_the_environment(made: Installation, command: str) -> None:
    assert made.adding("local") == command


def test_what_an_extra_would_bring_is_told_with_the_command_that_brings_it() -> None:
    with pytest.raises(ProviderUnavailable) as refusal:
        with installed("the client", "pipeline"):
            import_module("agentd_has_no_such_module")
    assert str(refusal.value) == (
        "the client is not installed: No module named 'agentd_has_no_such_module'; " + how_to_add("pipeline")
    )


def test_the_tests_run_from_an_installation_whose_command_is_found() -> None:
    found = running_installation()
    assert found.environment == Path(sys.prefix)
    assert found.program == Path(sysconfig.get_path("scripts")) / "agentd"
    assert found.origin == str(ROOT)


def told_by(python: Path) -> str:
    """How an interpreter says an extra is added to its environment; our packages are on its path behind its own."""
    code = (
        "import sys; sys.path += sys.argv[1:]\nfrom agentd.installation import how_to_add; print(how_to_add('local'))"
    )
    done = subprocess.run(
        [python, "-c", code, str(ROOT), sysconfig.get_path("purelib")],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        cwd="/", capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_the_link_to_the_environment_in_use_is_named_since_it_outlives_an_upgrade(tmp_path: Path) -> None:
    dated = tmp_path / "venv-20260101T000000Z"
    venv.create(dated, symlinks=True)
    assert told_by(dated / "bin/python").startswith(f"{dated}/bin/python -m pip install ")
    link = tmp_path / "venv"
    link.symlink_to(dated.name)
    assert told_by(dated / "bin/python").startswith(f"{link}/bin/python -m pip install ")
    link.unlink()
    link.symlink_to("venv-of-another-version")
    assert told_by(dated / "bin/python").startswith(f"{dated}/bin/python -m pip install ")
