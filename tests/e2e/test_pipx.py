"""agentd as administrators install it: the wheel, pipx, `agentd init`; and what its unit starts, on a real PBX."""

import json
import os
import re
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import attrs
import pytest

from tests.e2e.conftest import show
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.daemon import environment, run_daemon, write_config
from tests.lab.packages import PARROT, ROOT, build_wheel
from tests.lab.prefix import Prefix
from tests.lab.units import exec_start

pytestmark = [pytest.mark.e2e, pytest.mark.network, pytest.mark.long]

PIPX = "pipx==1.7.1"
"""Debian 13's."""
AGENTS = '[agents.default]\nprovider = "parrot"\n'


@attrs.frozen
class Host:
    """The files of a host below `root`, where root has installed agentd with pipx as docs/install.md says."""

    root: Path
    pipx: Path

    @property
    def environ(self) -> dict[str, str]:
        """root's shell: without this source tree, and with pipx and agentd on PATH."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        here = {"PIPX_HOME": str(self.root / "opt/pipx"), "PIPX_BIN_DIR": str(self.root / "usr/local/bin")}
        path = os.pathsep.join([str(self.pipx.parent), here["PIPX_BIN_DIR"], os.environ["PATH"]])
        return {**kept, **here, "PATH": path}

    def run(self, command: str, status: int = 0, **more: str) -> str:
        """A line of shell; gives what it said on stdout."""
        done = subprocess.run(
            ["sh", "-euc", command], cwd=self.root, env={**self.environ, **more},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == status, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    directory = tmp_path_factory.mktemp("pipx")
    python = directory / "tools" / "bin" / "python"
    venv.create(python.parents[1], symlinks=True)
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--retries", "1", PIPX],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if fetched.returncode:
        reason = f"PIPX NOT TESTED, no package index gives {PIPX}: {fetched.stderr.strip()[-300:]}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    made = Host(directory / "root", python.with_name("pipx"))
    made.root.mkdir()
    wheel = build_wheel(ROOT, directory / "wheel")
    made.run(f"pipx install --python {shlex.quote(sys.executable)} {shlex.quote(str(wheel))} && agentd init --root .")
    return made


def test_the_units_start_the_installation_of_pipx(host: Host) -> None:
    for unit, command in (("agentd", ""), ("agentd-hand-back", "hand-back "), ("agentd-speech", "speech-server ")):
        lines = (host.root / f"etc/systemd/system/{unit}.service").read_text().splitlines()
        program = "/opt/pipx/venvs/asterisk-agentd/bin/agentd"
        (started,) = [line for line in lines if line.startswith("ExecStart=")]
        assert re.search(rf"[= ]{program} {command}--config /etc/agentd/agent\.toml$", started)


def test_the_command_that_the_doctor_names_for_missing_engines_works_on_this_host(host: Host) -> None:
    found = json.loads(host.run("agentd doctor --config etc/agentd/agent.toml --json", status=1))
    (advice,) = {
        line
        for finding in found
        for line in finding["advice"]
        if finding["check"] == "agent default" and "engines that cannot be loaded" in finding["found"]
    }
    assert advice == f"PIPX_HOME={host.root}/opt/pipx pipx runpip asterisk-agentd install 'asterisk-agentd[local]'"
    would = host.run(advice, PIP_DRY_RUN="1")
    for engine in ("vosk", "piper-tts", "moonshine-voice", "xllamacpp", "onnxruntime"):
        assert f" {engine}-" in would.splitlines()[-1], "Would install ..."


async def test_started_as_the_unit_says_it_serves_with_a_provider_that_was_injected(
    host: Host, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    parrot = build_wheel(PARROT, tmp_path / "parrot")
    host.run(f"pipx inject asterisk-agentd {shlex.quote(str(parrot))}")
    command = exec_start(host.root)
    assert command[0] == f"{host.root}/opt/pipx/venvs/asterisk-agentd/bin/agentd"
    async with PrivateAsterisk(pbx_prefix) as pbx:
        config = write_config(host.root / "etc/agentd/agent.toml", pbx, agents=AGENTS)
        assert command[-2:] == ("--config", str(config))
        environ = {**environment(pbx), **host.environ}
        del environ["PYTHONPATH"]
        async with run_daemon(config, environ, show, command[:-2]) as daemon:
            status, health = await daemon.health()
            assert (status, health["ari_connected"], health["providers"]["default"]["ready"]) == (200, True, True)
