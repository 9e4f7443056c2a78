"""The units under a real systemd as PID 1, the oldest that they are for and the newest: what a restart keeps, what a
stop does not, and when callers are handed back."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from agentd.service.install import data_file
from tests.lab.debian import Wanted, unpacked
from tests.lab.pid1 import NEWEST, OLDEST, PROGRAM, Booted, agentd_files, available, booted
from tests.lab.prefix import LabUnavailable

pytestmark = [pytest.mark.e2e, pytest.mark.long]
every_systemd = pytest.mark.parametrize("systemd", [OLDEST, NEWEST], ids=["oldest", "newest"])

DAEMON, HAND_BACK = "agentd.service", "agentd-hand-back.service"
CONFIG = "/etc/agentd/agent.toml"
RECORD = "/run/agentd/what-a-call-needs"
LOG = "/var/log/agentd.log"
NOBODY = """\
[asterisk]
url = "http://127.0.0.1:1"
[calls]
drain_timeout = 1.0
[agents.default]
provider = "openai_realtime"
"""
"""No Asterisk is there, and no key: the daemon is up all the same."""


@asynccontextmanager
async def host(systemd: Wanted, tmp_path: Path) -> AsyncIterator[Booted]:
    """A host with agentd's units, whose daemon is up."""
    if reason := available():
        pytest.skip(f"no systemd can be PID 1 here: {reason}")
    try:
        system = await unpacked(systemd, print)
    except LabUnavailable as error:
        pytest.skip(f"there is no {systemd.name}: {error}")
    files = tmp_path / "files"
    units, etc = files / "etc/systemd/system", files / "etc/agentd"
    (units / f"{DAEMON}.d").mkdir(parents=True)
    (etc / "credentials").mkdir(parents=True)
    for unit in (DAEMON, HAND_BACK):
        shutil.copy(data_file(f"systemd/{unit}"), units)
    (units / f"{DAEMON}.d/log.conf").write_text(f"[Service]\nStandardError=append:{LOG}\n")
    (etc / "agent.toml").write_text(NOBODY)
    (etc / "credentials/ari-password").write_text("secret")
    async with booted(system, files, agentd_files(files)) as init:
        await init.run("systemctl", "start", DAEMON)
        await leave_a_record(init)
        yield init


async def leave_a_record(init: Booted) -> None:
    """As a call does that is up."""
    await init.run("sh", "-c", f"echo words > {RECORD}")


async def kill(init: Booted) -> None:
    """As the kernel does, or a defect: at once, with no word of farewell."""
    pid = await init.show(DAEMON, "MainPID")
    await init.run("sh", "-c", f"kill -9 {pid}")
    with trio.fail_after(30):
        while await init.show(DAEMON, "MainPID") == pid:
            await trio.sleep(0.02)


async def has_handed_back(init: Booted) -> bool:
    """Whether the command itself was run: there is no Asterisk to hand anybody back to, so it fails."""
    return await init.show(HAND_BACK, "Result") == "exit-code"


@every_systemd
async def test_what_calls_need_outlives_a_restart_and_a_crash_and_no_stop(systemd: Wanted, tmp_path: Path) -> None:
    async with host(systemd, tmp_path) as init:
        await init.run("systemctl", "restart", DAEMON)
        assert "told to restart" in await init.run("cat", LOG)
        assert await init.exists(RECORD)

        await kill(init)
        await init.until(DAEMON, "ActiveState", "active")
        assert await init.show(DAEMON, "NRestarts") == "1"
        assert await init.exists(RECORD)
        assert not await has_handed_back(init), "the daemon that follows goes on with the calls"

        assert "told to stop" not in await init.run("cat", LOG)
        await init.run("systemctl", "stop", DAEMON)
        assert "told to stop" in await init.run("cat", LOG)
        assert not await init.exists(RECORD)
        assert await init.show(DAEMON, "Result") == "success"
        assert not await has_handed_back(init), "a daemon that stops hands its callers back itself"


@every_systemd
async def test_where_the_daemon_cannot_ask_systemd_agentd_restart_tells_it(systemd: Wanted, tmp_path: Path) -> None:
    async with host(systemd, tmp_path) as init:
        await init.run("systemctl", "stop", "dbus.socket", "dbus.service")
        assert "goes on with the calls" in await init.run(PROGRAM, "restart", "--config", CONFIG)
        assert "told to restart" in await init.run("cat", LOG)
        assert await init.exists(RECORD)

        await init.run("sh", "-c", f"echo nonsense > {CONFIG}")
        assert "is not TOML" in await init.run(PROGRAM, "restart", "--config", CONFIG, check=False)
        assert await init.show(DAEMON, "ActiveState") == "active", "what the new one would refuse ends no call"


@every_systemd
async def test_callers_are_handed_back_once_no_daemon_comes_again(systemd: Wanted, tmp_path: Path) -> None:
    async with host(systemd, tmp_path) as init:
        await init.run("sh", "-c", f"echo nonsense > {CONFIG}")
        await kill(init)
        await init.until(DAEMON, "ActiveState", "failed")
        assert await init.show(DAEMON, "ExecMainStatus") == "2", "refused: it will not get better by itself"
        await init.until(HAND_BACK, "Result", "exit-code")


@every_systemd
async def test_callers_are_handed_back_when_the_daemon_has_failed_too_often(systemd: Wanted, tmp_path: Path) -> None:
    async with host(systemd, tmp_path) as init:
        await init.run("sh", "-c", f"mv {PROGRAM} {PROGRAM}.kept && printf '#!/bin/sh\\nexit 1\\n' > {PROGRAM}")
        await init.run("chmod", "755", PROGRAM)
        await init.run("sh", "-c", f"kill -9 {await init.show(DAEMON, 'MainPID')}")
        await init.until(DAEMON, "ActiveState", "failed")
        assert await init.show(DAEMON, "Result") in ("start-limit-hit", "exit-code")
        await init.until(HAND_BACK, "Result", "exit-code")
