"""What the notifier makes of its environment, and when progress counts as stale."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agentd.service.notify import Notifier, ProgressWatch


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


def test_a_part_is_stale_only_when_its_last_beat_is_older_than_its_own_limit() -> None:
    watch = ProgressWatch({"ari_pump": 10.0, "listener": 20.0}, started=100.0)
    assert watch.stale(110.0) == []
    assert watch.stale(110.1) == ["ari_pump"]
    assert watch.stale(120.1) == ["ari_pump", "listener"]
    watch.beat("ari_pump", 120.0)
    assert watch.stale(120.1) == ["listener"]


def test_a_resting_part_is_never_stale_until_it_has_begun_again() -> None:
    watch = ProgressWatch({"line_clock": 1.0}, started=0.0)
    watch.rest("line_clock")
    assert watch.stale(1e6) == []
    watch.beat("line_clock", 1e6)
    assert watch.stale(1e6 + 2) == ["line_clock"]


def test_an_unknown_part_is_a_programming_error() -> None:
    watch = ProgressWatch({"listener": 1.0}, started=0.0)
    with pytest.raises(KeyError, match=r"listner.*expected one of listener"):
        watch.beat("listner", 0.0)
    with pytest.raises(KeyError, match="listner"):
        watch.rest("listner")


@given(beats=st.lists(st.floats(0, 1e6), min_size=1), limit=st.floats(0.1, 100), wait=st.floats(0, 200))
def test_only_the_latest_beat_counts(beats: list[float], limit: float, wait: float) -> None:
    watch = ProgressWatch({"part": limit}, started=0.0)
    for now in sorted(beats):
        watch.beat("part", now)
    now = max(beats) + wait
    assert watch.stale(now) == (["part"] if now - max(beats) > limit else [])
