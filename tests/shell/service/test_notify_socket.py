"""The notifier against a real datagram socket in the place of systemd."""

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agentd.service.notify import Notifier


class ServiceManager:
    """The receiving end: what systemd would have read so far."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notify"


@pytest.fixture
def manager(path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(str(path))
    yield manager
    manager.socket.close()


@pytest.fixture
def notifier(path: Path, manager: ServiceManager) -> Iterator[Notifier]:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "30000000"})
    yield notifier
    notifier.close()


def test_each_method_sends_the_lines_that_sd_notify_defines(notifier: Notifier, manager: ServiceManager) -> None:
    notifier.ready("serving 0 calls")
    notifier.status("serving 2 calls")
    notifier.watchdog()
    notifier.stopping()
    assert manager.heard() == [
        "READY=1\nSTATUS=serving 0 calls",
        "STATUS=serving 2 calls",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_a_reload_is_stamped_with_the_monotonic_clock(notifier: Notifier, manager: ServiceManager) -> None:
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    after = time.monotonic_ns() // 1000
    (message,) = manager.heard()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", message)
    assert match is not None
    assert before <= int(match[1]) <= after


def test_a_status_cannot_smuggle_in_another_assignment(notifier: Notifier, manager: ServiceManager) -> None:
    notifier.status("waiting\nREADY=1\0\r")
    assert manager.heard() == ["STATUS=waiting READY=1  "]


def test_the_longest_status_fits_the_4096_bytes_that_systemd_reads(notifier: Notifier, manager: ServiceManager) -> None:
    notifier.ready("\N{GRINNING FACE}" * 10_000)
    (message,) = manager.heard()
    assert len(message.encode()) < 4096
    assert message.endswith("\N{GRINNING FACE}")


def test_an_abstract_socket_is_reached_by_its_at_name() -> None:
    name = f"agentd-test-{uuid.uuid4()}"
    manager = ServiceManager("\0" + name)
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "@" + name})
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1"]
    notifier.close()
    manager.socket.close()


def test_a_manager_that_has_gone_is_logged_once_per_outage(path: Path) -> None:
    manager = ServiceManager(str(path))
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": str(path)})
    manager.socket.close()
    with capture_logs() as logs:
        notifier.status("one")
        notifier.status("two")
    assert [(entry["event"], entry["message"]) for entry in logs] == [("systemd could not be told", "STATUS=one")]

    path.unlink()
    returned = ServiceManager(str(path))
    with capture_logs() as logs:
        notifier.status("three")
        returned.socket.close()
        notifier.status("four")
    assert [entry["message"] for entry in logs] == ["STATUS=four"]
    notifier.close()


def test_a_manager_that_does_not_read_never_blocks_the_daemon(notifier: Notifier, manager: ServiceManager) -> None:
    with capture_logs() as logs:
        for _ in range(10_000):
            notifier.status("busy")
    assert len(logs) == 1
    assert 0 < len(manager.heard()) < 10_000


def test_a_closed_notifier_says_nothing_more(notifier: Notifier, manager: ServiceManager) -> None:
    notifier.close()
    notifier.close()
    notifier.stopping()
    assert manager.heard() == []


def test_a_child_inherits_neither_the_variables_nor_the_socket(path: Path, manager: ServiceManager) -> None:
    program = (
        "import os, subprocess, sys\n"
        "from agentd.service.notify import Notifier\n"
        "notifier = Notifier.from_environment(os.environ)\n"
        "notifier.stopping()\n"
        'child = \'import os; print([k for k in os.environ if k.startswith(("NOTIFY", "WATCHDOG"))],\''
        '\' [f for f in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{f}")'
        ' and "socket" in os.readlink(f"/proc/self/fd/{f}")])\'\n'
        "subprocess.run([sys.executable, '-c', child], check=True, close_fds=False)\n"
    )
    environ = {**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environ, capture_output=True, text=True, check=True, timeout=60,
        stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert manager.heard() == ["STOPPING=1"]
    assert done.stdout.strip() == "[] []"
