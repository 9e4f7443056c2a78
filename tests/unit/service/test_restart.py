"""`agentd restart`: what it looks at before it restarts, what it leaves, and what it does where systemd is not."""

import io
from pathlib import Path

import pytest

from agentd.service import restart as module
from agentd.service.leaving import MARK, leave_mark, take_mark
from agentd.service.restart import RestartRefused, obstacle, restart, unit_of_config

GOOD = {"LoadState": "loaded", "ActiveState": "active", "NeedDaemonReload": "no", "RuntimeDirectoryPreserve": "restart"}
CONFIG = Path("/etc/agentd/agent.toml")


@pytest.mark.parametrize(
    ("config", "unit"),
    [
        ("/etc/agentd/agent.toml", "agentd.service"),
        ("/etc/agentd/1.toml", "agentd@1.service"),
        ("/etc/agentd/sales.toml", "agentd@sales.service"),
        ("/etc/agentd/a b.toml", None),
        ("/etc/agentd/agentd.env", None),
        ("/etc/agentd/below/1.toml", None),
        ("/srv/agent.toml", None),
        ("agent.toml", None),
    ],
)
def test_a_configuration_tells_its_unit(config: str, unit: str | None) -> None:
    assert unit_of_config(Path(config)) == unit


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"ActiveState": "reloading"}, None),
        ({"RuntimeDirectoryPreserve": "yes"}, None),
        ({"LoadState": "not-found"}, "agentd init"),
        ({"ActiveState": "inactive"}, "nothing to restart: systemctl start agentd.service"),
        ({"ActiveState": "failed"}, "systemctl start"),
        ({"NeedDaemonReload": "yes"}, "systemctl daemon-reload"),
        ({"RuntimeDirectoryPreserve": "no"}, "of an earlier version: agentd init, then systemctl daemon-reload"),
    ],
)
def test_what_would_end_the_calls_is_told_and_what_to_do(changed: dict[str, str], words: str | None) -> None:
    found = obstacle("agentd.service", GOOD | changed)
    assert found is None if words is None else words in (found or "")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that systemd runs, whose systemctl notes what it is told and answers as the file `answer` says."""
    (tmp_path / "run/agentd").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    systemctl = tmp_path / "bin/systemctl"
    systemctl.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n[ "$1" = show ] && cat {tmp_path}/answer && exit 0\n'
        f'ls {tmp_path}/run/* > {tmp_path}/marks\n[ ! -e {tmp_path}/fails ] || {{ echo "Job failed." >&2; exit 1; }}\n'
    )
    systemctl.chmod(0o755)
    (tmp_path / "answer").write_text("".join(f"{name}={value}\n" for name, value in GOOD.items()))
    monkeypatch.setattr(module, "SYSTEMD", tmp_path)
    monkeypatch.setattr(module, "RUN", tmp_path / "run")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def test_the_unit_is_looked_at_marked_and_restarted(host: Path) -> None:
    out = io.StringIO()
    restart(CONFIG, "/nowhere", out)
    looked, restarted = (host / "told").read_text().splitlines()
    assert looked.startswith("show --property=LoadState,")
    assert restarted == "restart agentd.service"
    assert MARK in (host / "marks").read_text(), "the mark is there when SIGTERM comes"
    assert "agentd.service was restarted" in out.getvalue()


def test_an_instance_is_restarted_by_its_own_file_and_marked_in_its_own_directory(host: Path) -> None:
    (host / "run/agentd@1").mkdir()
    restart(Path("/etc/agentd/1.toml"), "/nowhere", io.StringIO())
    assert (host / "told").read_text().endswith("restart agentd@1.service\n")
    assert take_mark(host / "run/agentd@1")
    assert not take_mark(host / "run/agentd")


def test_where_no_mark_can_be_left_systemd_tells_the_daemon_all_the_same(host: Path) -> None:
    (host / "run/agentd").rmdir()
    restart(CONFIG, "/nowhere", io.StringIO())
    assert "restart agentd.service" in (host / "told").read_text()


def test_where_the_calls_would_end_nothing_is_restarted(host: Path) -> None:
    (host / "answer").write_text("LoadState=loaded\nActiveState=active\nRuntimeDirectoryPreserve=no\n")
    with pytest.raises(RestartRefused, match="earlier version"):
        restart(CONFIG, "/nowhere", io.StringIO())
    assert "restart" not in (host / "told").read_text().replace("Preserve", "").split()
    assert not take_mark(host / "run/agentd")


def test_a_restart_that_fails_leaves_no_mark_for_the_stop_that_may_follow(host: Path) -> None:
    (host / "fails").touch()
    with pytest.raises(RestartRefused, match=r"systemctl restart agentd\.service: Job failed\."):
        restart(CONFIG, "/nowhere", io.StringIO())
    assert not take_mark(host / "run/agentd")


@pytest.mark.parametrize("config", ["/srv/agent.toml", "/etc/agentd/agent.toml"])
def test_without_systemd_the_mark_is_left_where_the_records_are_and_it_is_told_what_to_do(
    host: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    if config == str(CONFIG):
        monkeypatch.setattr(module, "SYSTEMD", host / "absent")
    out = io.StringIO()
    restart(Path(config), str(host / "run/agentd"), out)
    assert "by SIGTERM, within 60 s" in out.getvalue()
    assert not (host / "told").exists()
    assert take_mark(host / "run/agentd")
    with pytest.raises(RestartRefused, match="as the daemon's user, or as root"):
        restart(Path(config), str(host / "absent"), out)


def test_a_mark_of_another_try_is_no_obstacle(host: Path) -> None:
    leave_mark(host / "run/agentd")
    restart(CONFIG, "/nowhere", io.StringIO())
    assert take_mark(host / "run/agentd")
