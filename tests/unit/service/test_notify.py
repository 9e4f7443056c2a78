"""What the notifier makes of its environment."""

import os

import pytest
from structlog.testing import capture_logs

from agentd.service.notify import Notifier


def test_without_a_notify_socket_everything_is_a_no_op() -> None:
    notifier = Notifier.from_environment({})
    with capture_logs() as logs:
        notifier.ready("up")
        notifier.reloading()
        notifier.status("fine")
        notifier.watchdog()
        notifier.stopping()
        notifier.close()
    assert logs == []
    assert notifier.watchdog_interval is None


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Notifier.from_environment(environ).close()
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("microseconds", "pid", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", str(os.getpid() + 1), None),
        (None, str(os.getpid()), None),
        ("", None, None),
    ],
    ids=["unaddressed", "ours", "of another process", "no time", "empty"],
)
def test_the_watchdog_interval_is_half_of_what_systemd_allows_this_process(
    microseconds: str | None, pid: str | None, interval: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": "@x"}
    environ |= {} if microseconds is None else {"WATCHDOG_USEC": microseconds}
    environ |= {} if pid is None else {"WATCHDOG_PID": pid}
    notifier = Notifier.from_environment(environ)
    assert notifier.watchdog_interval == interval
    notifier.close()


@pytest.mark.parametrize("microseconds", ["0", "-1", "soon", "1e6", "٣"])
def test_a_senseless_watchdog_time_is_logged_and_counts_as_none(microseconds: str) -> None:
    with capture_logs() as logs:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": microseconds})
    assert notifier.watchdog_interval is None
    assert [entry["got"] for entry in logs] == [microseconds]
    notifier.close()


@pytest.mark.parametrize("address", ["relative/path", "vsock:2:1234"])
def test_a_socket_of_a_kind_we_cannot_speak_is_logged_and_ignored(address: str) -> None:
    with capture_logs() as logs:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    assert [entry["got"] for entry in logs] == [address]
    assert notifier.watchdog_interval is None
