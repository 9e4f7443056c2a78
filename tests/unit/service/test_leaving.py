"""Whether the end of a daemon is a restart: what systemd tells, what a mark tells, and what neither does."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.service.leaving import (
    MARK,
    MARK_HOLDS,
    Leaving,
    job_of,
    judge,
    leave_mark,
    mark_holds,
    now,
    runtime_directory,
    take_mark,
    unit_of,
)


@pytest.mark.parametrize(
    ("job", "marked", "leaving"),
    [
        ("restart", False, Leaving.RESTART),
        ("try-restart", False, Leaving.RESTART),
        ("stop", False, Leaving.STOP),
        ("stop", True, Leaving.STOP),  # the host goes down a moment after `agentd restart`
        ("restart", True, Leaving.RESTART),
        ("start", False, Leaving.STOP),  # killed while it was started
        ("nonsense", True, Leaving.STOP),
        (None, True, Leaving.RESTART),  # no systemd, or no bus to ask it over
        (None, False, Leaving.STOP),  # `kill`, or `systemctl kill`
    ],
)
def test_systemds_word_goes_first_then_the_mark_and_without_both_it_is_a_stop(
    job: str | None, marked: bool, leaving: Leaving
) -> None:
    assert judge(job, marked) is leaving


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/agentd.service\n", "agentd.service"),
        ("0::/system.slice/system-agentd.slice/agentd@second.service\n", "agentd@second.service"),
        ("4:memory:/other.service\n1:name=systemd:/system.slice/agentd.service\n0::/\n", "agentd.service"),
        ("4:memory:/agentd.service\n0::/\n", None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/agentd.service\n", None),
        ("0::/user.slice/user-0.slice/session-3.scope\n", None),
        ("0::/system.slice/docker-0123456789ab.scope\n", None),
        ("0::/agentd.service/below\n", None),
        ("", None),
    ],
)
def test_the_unit_of_a_process_is_told_by_its_cgroup(cgroups: str, unit: str | None) -> None:
    assert unit_of(cgroups) == unit


@pytest.mark.parametrize(
    ("listing", "job"),
    [
        ("1234 agentd.service restart running\n", "restart"),
        ("  12 asterisk.service stop running\n 1234 agentd.service stop  waiting\n", "stop"),
        ("1234 agentd@a.service restart running\n", None),
        ("No jobs running.\n", None),
        ("1234 agentd.service restart\n", None),
        ("JOB agentd.service restart running\n", None),
        ("", None),
    ],
)
def test_the_units_job_is_found_among_all_others(listing: str, job: str | None) -> None:
    assert job_of("agentd.service", listing) == job


@given(listing=st.text(), cgroups=st.text(), mark=st.text())
def test_whatever_comes_is_told_or_is_nothing(listing: str, cgroups: str, mark: str) -> None:
    assert job_of("agentd.service", listing) is None or "agentd.service" in listing
    assert unit_of(cgroups) is None or ".service" in cgroups
    assert isinstance(mark_holds(mark, 1.0), bool)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1000.000\n", True),
        ("960.5", True),
        (f"{1000 - MARK_HOLDS - 1:.3f}\n", False),
        ("1000.001\n", False),  # left in the future
        ("", False),
        ("nan", False),
        ("1e3", False),
        ("1000", False),
        ("1000.000\n1000.000\n", False),
        ("٩٩٩.٠", False),
    ],
)
def test_a_mark_holds_for_a_minute(text: str, holds: bool) -> None:
    assert mark_holds(text, 1000.0) is holds


def test_a_mark_is_good_for_one_end(tmp_path: Path) -> None:
    assert not take_mark(tmp_path)
    leave_mark(tmp_path)
    leave_mark(tmp_path)  # another try of whoever restarts
    assert take_mark(tmp_path)
    assert not take_mark(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_old_mark_is_taken_away_too(tmp_path: Path) -> None:
    (tmp_path / MARK).write_text(f"{now() - MARK_HOLDS - 5:.3f}\n")
    assert not take_mark(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_no_mark_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "far").write_text(f"{now():.3f}\n")
    (tmp_path / MARK).symlink_to(tmp_path / "far")
    assert not take_mark(tmp_path)
    leave_mark(tmp_path)
    assert not (tmp_path / MARK).is_symlink()
    assert take_mark(tmp_path)
    os.mkfifo(tmp_path / MARK)
    assert not take_mark(tmp_path)


def test_root_writes_a_mark_over_nothing_that_the_daemons_user_has_put_there(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("whole")
    (tmp_path / MARK).symlink_to(tmp_path / "shadow")
    leave_mark(tmp_path)
    assert (tmp_path / "shadow").read_text() == "whole"


@pytest.mark.parametrize(
    ("told", "directory"),
    [("/run/agentd", "/run/agentd"), ("/run/agentd:/run/other", "/run/agentd"), ("", None), ("relative", None)],
)
def test_the_runtime_directory_is_what_systemd_tells(told: str, directory: str | None) -> None:
    assert runtime_directory({"RUNTIME_DIRECTORY": told}) == (directory and Path(directory))
    assert runtime_directory({}) is None
