"""The wheel and the sdist are whole: commands work away from the source tree, and the demo's files are there."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.lab.packages import ROOT
from tests.lab.units import exec_start

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """A command on a machine that has no source tree."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AGENTD_ARI_PASSWORD")}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


@pytest.fixture
def agentd(python: Path) -> Path:
    """The command, as it is installed."""
    return python.with_name("agentd")


def test_it_has_the_version_that_the_project_names_in_one_place(agentd: Path, tmp_path: Path) -> None:
    assert run(agentd, "--version", cwd=tmp_path).stdout == f"agentd {PROJECT['version']}\n"
    assert (PROJECT["name"], list(PROJECT["scripts"])) == ("asterisk-agentd", ["agentd"])


def test_the_sample_that_it_prints_is_a_configuration_that_it_takes(agentd: Path, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(run(agentd, "sample", cwd=tmp_path).stdout)
    assert "good; agents: default" in run(agentd, "check", "--config", config, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("unit", "command"),
    [("agentd", []), ("agentd-hand-back", ["hand-back"]), ("agentd-speech", ["speech-server"])],
)
def test_init_lays_down_units_that_start_this_installation(
    agentd: Path, tmp_path: Path, unit: str, command: list[str]
) -> None:
    root = tmp_path / "root"
    run(agentd, "init", "--root", root, cwd=tmp_path)
    program, *rest = exec_start(root, unit)
    assert program == str(agentd)
    assert "good" in run(program, "check", *rest[-2:], cwd=tmp_path).stdout
    assert rest[:-2] == command


def test_everything_that_init_lays_down_from_the_source_tree_comes_from_the_wheel_too(
    agentd: Path, tmp_path: Path
) -> None:
    wheels, trees = tmp_path / "wheels", tmp_path / "trees"
    run(agentd, "init", "--root", wheels, cwd=tmp_path)
    run(sys.executable, "-m", "agentd", "init", "--root", trees, cwd=ROOT)
    paths = [{str(path.relative_to(root)) for path in root.rglob("*")} for root in (wheels, trees)]
    assert paths[0] == paths[1]


def test_init_refuses_what_the_service_could_not_start_and_tells_the_way_out(
    agentd: Path, wheel: Path, tmp_path: Path
) -> None:
    refusal = run(agentd, "init", "--dry-run", cwd=tmp_path, status=1).stderr
    hidden = re.compile(
        rf"the service could not start agentd: {agentd} is below /(tmp|home|root), which the unit hides"
    )
    assert hidden.search(refusal), "where TMPDIR leads elsewhere, the service could start it"
    assert f"pipx install --python /usr/bin/python3.11 '{wheel}[local]'" in re.sub(
        r"python3\.\d+", "python3.11", refusal
    )


def test_the_doctor_runs_and_finds_that_there_is_no_pbx(agentd: Path, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[asterisk]\nurl = "http://127.0.0.1:1"\n[agents.default]\n')
    findings = json.loads(run(agentd, "doctor", "--config", config, "--json", cwd=tmp_path, status=1).stdout)
    states = {finding["check"]: finding["state"] for finding in findings}
    assert (states["configuration"], states["secrets"]) == ("ok", "fail")


def test_the_source_distribution_is_the_whole_tree(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git tree, which alone tells what belongs to it")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.splitlines() if (ROOT / name).exists()}
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        members = {member.name.partition("/")[2]: member for member in tar.getmembers()}
    assert tracked - set(members) == set()
    assert {
        "requirements.lock",
        "requirements-build.lock",
        "requirements-dev.lock",
        "justfile",
        "tests/lab/demo.py",
        ".ci/run",
    } <= tracked
    assert members["systemd/install-host"].mode & 0o111, "it is run as it is"
