"""The daemon as systemd starts it: ExecStart to the letter, a notify socket, credentials, signals."""

import io
import os
import re
import shlex
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from agentd.playback.directory import MediaDirectory
from agentd.service.install import init
from tests.installed import sample_toml
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.daemon import Daemon, run_daemon, write_config
from tests.lab.hearing import words
from tests.lab.prefix import Prefix
from tests.lab.scene import words_heard
from tests.lab.sip import SipCaller
from tests.lab.units import exec_start

pytestmark = [pytest.mark.e2e, pytest.mark.engines]

UNIT = Path(__file__).parents[2] / "systemd" / "agentd.service"


class NotifySocket:
    """systemd's end of sd_notify(3): it reads all the time, since the kernel keeps as few as 10 datagrams."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[str] = []

    async def read(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            await end.bind(str(self.path))
            task_status.started()
            while True:
                self.messages.append((await end.recv(4096)).decode())

    async def wait_for(self, wanted: str, timeout: float = 60.0) -> None:
        with trio.fail_after(timeout):
            while not any(wanted in message.splitlines() for message in self.messages):
                await trio.sleep(0.02)


@pytest.fixture
async def notify(tmp_path: Path, nursery: trio.Nursery) -> NotifySocket:
    made = NotifySocket(tmp_path / "notify")
    await nursery.start(made.read)
    return made


def unit_environment() -> dict[str, str]:
    """The Environment= lines of the unit."""
    lines = re.findall(r"^Environment=(.+)$", UNIT.read_text(), re.MULTILINE)
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))


def installed(root: Path, pbx: PrivateAsterisk, notify: NotifySocket) -> tuple[tuple[str, ...], dict[str, str]]:
    """Lay the host's files down below `root` as `agentd init` does; gives command and environment."""
    init(root, out=io.StringIO(), asterisk="plain", sample=sample_toml())
    command = exec_start(root)
    assert command[0] == str(Path(sys.executable).with_name("agentd")), "the units start what init is run from"
    write_config(Path(command[-1]), pbx, extra="[calls]\ndrain_timeout = 1.0")
    credential = root / "etc/agentd/credentials/ari-password"
    credential.write_text(pbx.ari_password)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "AGENTD_MODELS_DIR") if name in os.environ}
    for name in ("XDG_DATA_HOME",):  # where this machine's models are; the unit's own is checked below
        if name in os.environ:
            kept[name] = os.environ[name]
    environ = {
        **{name: value for name, value in unit_environment().items() if not name.startswith(("XDG_", "AGENTD_MODELS"))},
        **kept,
        "CREDENTIALS_DIRECTORY": str(credential.parent),
        "NOTIFY_SOCKET": str(notify.path),
        "WATCHDOG_USEC": "2000000",
    }
    return command[:-2], environ


async def test_started_as_the_unit_says_it_tells_ready_feeds_the_watchdog_reloads_and_drains(
    pbx_prefix: Prefix, tmp_path: Path, notify: NotifySocket
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with PrivateAsterisk(pbx_prefix) as pbx:
        command, environ = installed(root, pbx, notify)
        assert not any(pbx.ari_password in word for word in command)
        async with run_daemon(root / "etc/agentd/agent.toml", environ, command=command) as daemon:
            await notify.wait_for("READY=1")
            assert (await daemon.health())[0] == 200, "readiness came before ARI and the listener were up"
            notify.messages.clear()
            await notify.wait_for("WATCHDOG=1", timeout=5)

            config = root / "etc/agentd/agent.toml"
            config.write_text(config.read_text() + '\ngreeting = "Welcome to the new configuration."\n')
            notify.messages.clear()
            daemon.process.send_signal(signal.SIGHUP)
            await notify.wait_for("RELOADING=1")
            await notify.wait_for("READY=1")

            config.write_text(config.read_text() + "\nnonsense = 1\n")
            daemon.process.send_signal(signal.SIGHUP)
            refused = await daemon.wait_for("the new configuration is refused, the old one stays")
            assert "agents.default.nonsense" in refused["error"]

            await check_call_and_drain(daemon, pbx, notify)
            with trio.fail_after(30):
                await daemon.process.wait()
        assert daemon.process.returncode == 0
        assert not list(Path(pbx.media_directory).glob("*.sln"))
        assert "0 active channels" in await pbx.cli("core show channels")


async def check_call_and_drain(daemon: Daemon, pbx: PrivateAsterisk, notify: NotifySocket) -> None:
    """A call hears the new greeting; SIGTERM lets it finish up to the deadline, then announces the end."""
    async with SipCaller().call(pbx.sip_uri("7000")) as call:
        await daemon.wait_for("utterance heard")
        notify.messages.clear()
        daemon.process.send_signal(signal.SIGTERM)
        await notify.wait_for("STOPPING=1")
        with trio.fail_after(30):
            await call.ended.wait()
        assert call.ended_by == "remote"
    heard = words(await words_heard(call, 0.0, call.now))
    assert "welcome" in heard
    assert "conversation" in heard, "the end was not announced"
    assert (await daemon.wait_for("call ended"))["result"] == "shutdown"


async def test_asterisk_restarted_in_the_middle_of_a_call(pbx_prefix: Prefix, tmp_path: Path) -> None:
    """The call is gone with the PBX; agentd clears up, reconnects, and serves the next one."""
    async with PrivateAsterisk(pbx_prefix) as pbx:
        environ = {**os.environ, "AGENTD_ARI_PASSWORD": pbx.ari_password}
        async with run_daemon(write_config(tmp_path / "agent.toml", pbx), environ) as daemon:
            async with SipCaller().call(pbx.sip_uri("7000")) as call:
                await daemon.wait_for("utterance heard")
                since = len(daemon.lines)
                await pbx.restart()
                await daemon.wait_for("ARI event stream is up", start=since, timeout=40)
                await daemon.wait_for("call ended", start=since, timeout=40)
                await call.hangup()
            await daemon.until_idle()
            since = len(daemon.lines)
            async with SipCaller().call(pbx.sip_uri("7001")) as call:
                await daemon.wait_for("utterance heard", start=since)
                await call.hangup()
            await daemon.until_idle()
        assert not list(Path(pbx.media_directory).glob("*.sln"))


async def test_what_a_daemon_leaves_that_is_killed_in_mid_call_is_cleared_up_by_the_next(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """The caller goes on in the dialplan; media channels, bridges and files of the dead run are removed."""
    async with PrivateAsterisk(pbx_prefix) as pbx:
        environ = {**os.environ, "AGENTD_ARI_PASSWORD": pbx.ari_password}
        config = write_config(tmp_path / "agent.toml", pbx)
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(run_daemon(config, environ))
            call = await stack.enter_async_context(SipCaller().call(pbx.sip_uri("7001")))
            await first.wait_for("utterance heard")
            first.process.kill()
            await first.process.wait()
            left = MediaDirectory(Path(pbx.media_directory), "agentd").new_file()
            left.write_bytes(bytes(320))
            second = await stack.enter_async_context(run_daemon(config, environ))
            await second.wait_for("handed back a caller whom an earlier agentd left behind")
            with trio.fail_after(20):
                await call.ended.wait()
            assert call.ended_by == "remote", "the dialplan went on to its end"
            assert not left.exists()
            with trio.fail_after(10):
                while "0 active channels" not in await pbx.cli("core show channels"):
                    await trio.sleep(0.1)
            assert len((await pbx.cli("bridge show all")).strip().splitlines()) == 1


async def test_where_no_daemon_comes_again_hand_back_sends_the_callers_to_the_dialplan(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """What agentd-hand-back.service runs, with a file that the daemon refuses. One that is alive keeps its callers."""
    async with PrivateAsterisk(pbx_prefix) as pbx:
        environ = {**os.environ, "AGENTD_ARI_PASSWORD": pbx.ari_password}
        config = write_config(tmp_path / "agent.toml", pbx)
        command = [sys.executable, "-m", "agentd", "hand-back", "--config", str(config)]
        async with run_daemon(config, environ) as daemon, SipCaller().call(pbx.sip_uri("7000")) as call:
            await daemon.wait_for("utterance heard")
            environ |= {"HEALTH_PORT": str(daemon.health_port)}
            with trio.fail_after(60):
                done = await trio.run_process(command, capture_stdout=True, env=environ)
            assert b"an agentd is alive" in done.stdout
            assert not call.ended.is_set()
            daemon.process.kill()
            await daemon.process.wait()
            config.write_text(config.read_text() + "\n[agents.default\n")
            with trio.fail_after(60):
                done = await trio.run_process(command, capture_stdout=True, env=environ)
            assert b"callers handed back to the dialplan: 1; still in the application" in done.stdout
            with trio.fail_after(20):
                await call.ended.wait()
            assert call.ended_by == "remote", "the dialplan went on to its end"
            with trio.fail_after(10):
                while "0 active channels" not in await pbx.cli("core show channels"):
                    await trio.sleep(0.1)


async def test_without_a_daemon_the_dialplans_fallback_takes_the_call(pbx_prefix: Prefix) -> None:
    async with PrivateAsterisk(pbx_prefix) as pbx:
        async with SipCaller().call(pbx.sip_uri("7000")) as call:
            with trio.fail_after(20):
                await call.ended.wait()
        assert call.ended_by == "remote"
        assert "sorry" in words(await words_heard(call, 0.0, call.now))


async def test_a_refused_configuration_ends_the_daemon_with_status_2_before_anything_starts(
    tmp_path: Path,
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[asterisk]\nurll = 1\n")
    with trio.fail_after(60):
        ended = await trio.run_process(
            [sys.executable, "-m", "agentd", "--config", str(config)],
            capture_stderr=True,
            check=False,
            env={**os.environ, "AGENTD_ARI_PASSWORD": "x"},
        )
    assert ended.returncode == 2
    assert b"asterisk.urll" in ended.stderr
    assert b"did you mean 'url'" in ended.stderr
