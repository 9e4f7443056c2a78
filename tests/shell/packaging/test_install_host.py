"""systemd/install-host below a root: each version has an environment of its own, and the units start the link to it.

Only the making of an environment is staged: it comes with what the lock file wants, so that pip has nothing to fetch.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests.lab.packages import ROOT
from tests.lab.units import exec_start

INTERPRETER = """#!/bin/sh
case "$1 $2" in
    "-m venv") PYTHONPATH={root} exec {python} -c '
import sys, pathlib, tests.lab.packages as packages
packages.environment_with(pathlib.Path("{wheel}"), pathlib.Path(sys.argv[1]))' "$3" ;;
esac
exec {python} "$@"
"""


@attrs.frozen
class Host:
    """The files of a host, and how install-host is run for it."""

    root: Path
    wheel: Path
    python: Path

    def install(self) -> str:
        environ = {**os.environ, "PYTHON": str(self.python), "PIP_NO_INDEX": "1"}
        done = subprocess.run(
            [ROOT / "systemd/install-host", "--root", self.root, self.wheel],
            env=environ, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    def environments(self) -> set[str]:
        return {path.name for path in (self.root / "opt/agentd").glob("venv-*")}


@pytest.fixture
def host(wheel: Path, tmp_path: Path) -> Host:
    if os.geteuid() == 0 and shutil.which("systemd-sysusers") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "systemd-sysusers is not installed (Debian package systemd)"
        )
    python = tmp_path / "python"
    python.write_text(INTERPRETER.format(root=ROOT, python=sys.executable, wheel=wheel))
    python.chmod(0o755)
    return Host(tmp_path / "root", wheel, python)


def test_the_units_start_the_link_which_moves_to_each_new_version(host: Host) -> None:
    said = host.install()
    link = host.root / "opt/agentd/venv"
    (first,) = host.environments()
    assert link.readlink().name == first
    for unit in ("agentd", "agentd-speech"):
        assert exec_start(host.root, unit)[0] == f"{host.root}/opt/agentd/venv/bin/agentd"
    assert "/opt/agentd/venv/bin/agentd doctor" in said
    assert first not in (host.root / "etc/systemd/system/agentd.service").read_text()
    assert (host.root / "usr/local/bin/agentd").readlink() == Path("/opt/agentd/venv/bin/agentd")

    said = host.install()
    assert link.readlink().name != first
    assert host.environments() == {first, link.readlink().name}, "the version before stays, to go back to"
    assert "unchanged         /etc/systemd/system/agentd.service\n" in said


def test_init_by_the_link_later_on_names_the_link_again(host: Host) -> None:
    host.install()
    program = exec_start(host.root)[0]
    done = subprocess.run(
        [program, "init", "--root", host.root], cwd=host.root, capture_output=True, text=True, timeout=60, check=True
    )
    assert "unchanged         /etc/systemd/system/agentd.service\n" in done.stdout
