"""Asking systemd what SIGTERM was for: by a `systemctl` that answers, refuses, is late, or is not there."""

from pathlib import Path

import pytest

from agentd.service import leaving as module
from agentd.service.leaving import Leaving, leave_mark, why_told


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program that is asked, first on the PATH; this process belongs to agentd.service."""
    (tmp_path / "cgroup").write_text("0::/system.slice/agentd.service\n")
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(module, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "bin" / "systemctl"


def answers(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("job", ["restart", "stop"])
async def test_the_job_of_the_unit_tells(systemctl: Path, job: str) -> None:
    answers(systemctl, f'test "$1 $6" = "list-jobs agentd.service" && echo "77 agentd.service {job} running"')
    assert await why_told(None) is Leaving(job)


async def test_no_job_is_a_stop_and_with_a_mark_a_restart(systemctl: Path, tmp_path: Path) -> None:
    answers(systemctl, "exit 0")
    assert await why_told(tmp_path) is Leaving.STOP
    leave_mark(tmp_path)
    assert await why_told(tmp_path) is Leaving.RESTART
    assert await why_told(tmp_path) is Leaving.STOP


@pytest.mark.parametrize(
    "script",
    [
        "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1",
        "echo '77 agentd.service restart running'; exit 1",
        "head -c 100000 /dev/zero",
    ],
    ids=["no bus", "a failure", "no text"],
)
async def test_what_is_no_answer_is_a_stop(systemctl: Path, script: str) -> None:
    answers(systemctl, script)
    assert await why_told(None) is Leaving.STOP


async def test_who_does_not_answer_is_not_waited_for(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASKED", 0.3)
    answers(systemctl, "exec sleep 600")
    assert await why_told(None) is Leaving.STOP


async def test_without_systemd_the_mark_alone_tells(
    systemctl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(systemctl.parent))
    assert await why_told(tmp_path) is Leaving.STOP
    leave_mark(tmp_path)
    assert await why_told(tmp_path) is Leaving.RESTART
