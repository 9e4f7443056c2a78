"""systemd/install-host below a root: each version has an environment of its own, and the units start the link to it.

Only the making of an environment is staged: it comes with what the lock files want, so that pip has nothing to fetch.
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
packages.environment_with(pathlib.Path("{wheel}"), pathlib.Path(sys.argv[1]))
(site,) = pathlib.Path(sys.argv[1]).glob("lib/python*/site-packages")
packages.pretend(site, packages.ROOT / "requirements-build.lock")' "$3" ;;
esac
exec {python} "$@"
"""


@attrs.frozen
class Host:
    """The files of a host, and how install-host is run for it."""

    root: Path
    wheel: Path
    python: Path

    def install(self, *options: str, status: int = 0) -> str:
        """Gives what it said."""
        environ = {**os.environ, "PYTHON": str(self.python), "PIP_NO_INDEX": "1"}
        done = subprocess.run(
            [ROOT / "systemd/install-host", "--root", self.root, *options, self.wheel],
            env=environ, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == status, (done.stdout, done.stderr)
        return done.stdout + done.stderr

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
    for unit in ("agentd", "agentd-hand-back", "agentd-speech"):
        assert exec_start(host.root, unit)[0] == f"{host.root}/opt/agentd/venv/bin/agentd"
    assert "/opt/agentd/venv/bin/agentd doctor" in said
    assert first not in (host.root / "etc/systemd/system/agentd.service").read_text()
    assert (host.root / "usr/local/bin/agentd").readlink() == Path("/opt/agentd/venv/bin/agentd")

    said = host.install()
    assert link.readlink().name != first
    assert host.environments() == {first, link.readlink().name}, "the version before stays, to go back to"
    assert "unchanged         /etc/systemd/system/agentd.service\n" in said


def test_a_version_that_refuses_the_present_file_leaves_everything_as_it_was(host: Host) -> None:
    host.install()
    link, config = host.root / "opt/agentd/venv", host.root / "etc/agentd/agent.toml"
    first = link.readlink().name
    good = config.read_text()
    unit = host.root / "etc/systemd/system/agentd.service"
    unit.write_text(unit.read_text() + "# looked at by nobody\n")
    config.write_text("nonsense = 1\n" + good)
    said = host.install(status=1)
    assert f"{config}: 1 problem\n  nonsense: " in said
    assert f"the new version refuses {config}; {first} stays" in said
    assert "/etc/systemd/system/agentd.service" not in said, "init was not run"
    assert link.readlink().name == first
    assert host.environments() == {first}

    host.install("--no-check")
    assert link.readlink().name != first


def test_a_host_that_only_lends_its_speech_has_no_agent_to_be_checked(host: Host) -> None:
    if shutil.which("systemctl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("systemctl is not installed (Debian package systemd)")
    host.install()
    first = (host.root / "opt/agentd/venv").readlink().name
    (host.root / "etc/agentd/agent.toml").write_text("[speech_server]\n")
    wanted = host.root / "etc/systemd/system/multi-user.target.wants/agentd-speech.service"
    wanted.parent.mkdir(parents=True)
    wanted.symlink_to("/etc/systemd/system/agentd-speech.service")
    host.install()
    assert (host.root / "opt/agentd/venv").readlink().name != first


def test_init_by_the_link_later_on_names_the_link_again(host: Host) -> None:
    host.install()
    program = exec_start(host.root)[0]
    done = subprocess.run(
        [program, "init", "--root", host.root], cwd=host.root, capture_output=True, text=True, timeout=60, check=True
    )
    assert "unchanged         /etc/systemd/system/agentd.service\n" in done.stdout
