"""What the lab takes from the machine it runs on, and what it leaves there."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.debian import debian_mirror
from tests.lab.ports import PortClaims
from tests.lab.prefix import NEEDED_MODULES, LabUnavailable, examine, find

LEASH = Path(__file__).parents[2] / "lab" / "leash.py"


def make_prefix(root: Path, modules: tuple[str, ...] = NEEDED_MODULES) -> Path:
    for directory in (
        "usr/sbin",
        "usr/lib/x86_64-linux-gnu/asterisk/modules",
        "usr/share/asterisk/documentation",
    ):
        (root / directory).mkdir(parents=True)
    (root / "usr/sbin/asterisk").touch()
    for name in modules:
        (root / f"usr/lib/x86_64-linux-gnu/asterisk/modules/{name}.so").touch()
    return root


def test_a_prefix_with_everything_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTD_PBX_PREFIX", str(make_prefix(tmp_path)))
    found = find()
    assert found is not None
    assert found.root == tmp_path
    assert not found.installed


def test_a_prefix_without_audiosocket_is_refused_by_the_names_of_what_is_missing(tmp_path: Path) -> None:
    make_prefix(tmp_path, modules=("chan_pjsip", "app_stasis", "res_ari_channels"))
    with pytest.raises(LabUnavailable, match="app_audiosocket, chan_audiosocket, res_audiosocket"):
        examine(tmp_path)


def test_a_prefix_that_was_asked_for_is_not_replaced_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTD_PBX_PREFIX", str(tmp_path))
    with pytest.raises(LabUnavailable, match="AGENTD_PBX_PREFIX="):
        find()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list",
            "# deb http://wrong/debian x\ndeb [arch=amd64] http://mirror.test/debian bookworm main\n",
        ),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.test/debian/\nSuites: bookworm\n"),
    ],
)
def test_the_hosts_own_debian_mirror_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.delenv("AGENTD_PBX_MIRROR", raising=False)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert debian_mirror(tmp_path) == "http://mirror.test/debian"


def test_a_host_without_a_debian_mirror_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTD_PBX_MIRROR", raising=False)
    (tmp_path / "sources.list").write_text("deb http://archive.test/ubuntu noble main\n")
    with pytest.raises(LabUnavailable, match="AGENTD_PBX_MIRROR"):
        debian_mirror(tmp_path)
    monkeypatch.setenv("AGENTD_PBX_MIRROR", "http://here.test/debian/")
    assert debian_mirror(tmp_path) == "http://here.test/debian"


def test_claimed_ports_can_be_bound_and_are_not_given_twice() -> None:
    one, other = PortClaims(), PortClaims()
    try:
        udp, tcp, block = one.udp(), one.tcp(), one.udp(40)
        taken = {udp, tcp, *range(block, block + 40)}
        assert block % 2 == 0
        for _ in range(20):
            assert other.tcp() not in taken
        with socket.socket(type=socket.SOCK_DGRAM) as sip, socket.socket() as http:
            sip.bind(("127.0.0.1", udp))
            http.bind(("127.0.0.1", tcp))
    finally:
        one.release()
        other.release()


def running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("how", ["the starter lets go", "the leash is killed"])
def test_a_program_on_the_leash_does_not_outlive_its_starter(how: str) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    leash = subprocess.Popen(
        [sys.executable, "-I", str(LEASH), sys.executable, "-c", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert leash.stdin is not None and leash.stdout is not None
    with leash.stdin, leash.stdout:
        pid = int(leash.stdout.readline())
        assert running(pid)
        if how == "the starter lets go":
            leash.stdin.close()
        else:
            os.kill(leash.pid, signal.SIGKILL)
        leash.wait(10)
        deadline = time.monotonic() + 5
        while running(pid):
            assert time.monotonic() < deadline, "the program outlived its starter"


def test_the_leash_returns_the_status_of_its_program() -> None:
    command = [sys.executable, "-I", str(LEASH), sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as leash:
        assert leash.wait(10) == 7
