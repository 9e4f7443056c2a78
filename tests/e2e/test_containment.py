"""What goes wrong around calls on a real Asterisk: whatever it is, no caller is left in silence, and other calls go on.

Each test has a PBX and a daemon of its own, to break. The agents are a vendor's, whose fake answers at once: what is
tried here is the way back to the dialplan, not speech.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from agentd.websocket import WebSocket
from tests.e2e.conftest import show
from tests.lab.asterisk import PrivateAsterisk
from tests.lab.daemon import Daemon, environment, run_daemon, write_config
from tests.lab.prefix import Prefix
from tests.lab.sip import Call, SipCaller
from tests.lab.vendors.house import House, open_house

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SOON = 5.0
"""Seconds in which a caller must be served, in the dialplan or gone after what went wrong is over."""
PATIENCE = 30.0
"""Seconds for what takes its time on a busy host, and is not what is tried."""
GREETING = "Good day, how can I help you?"
STREAMING, FILES = "7000", "7500"
DIALPLAN = f"""
exten => {FILES},1,Gosub(agentd-call,${{EXTEN}},1(files,external))
"""


@attrs.frozen
class Host:
    """A PBX with the configuration of a daemon for it."""

    pbx: PrivateAsterisk
    house: House
    config: Path

    def daemon(self) -> AbstractAsyncContextManager[Daemon]:
        return run_daemon(self.config, environment(self.pbx) | self.house.environment, show)

    def caller(self, extension: str = STREAMING) -> AbstractAsyncContextManager[Call]:
        return SipCaller().call(self.pbx.sip_uri(extension))

    async def apologised_to(self) -> None:
        """A caller who is not served: the dialplan says so, and hangs up."""
        async with SipCaller(answer_seconds=PATIENCE).call(self.pbx.sip_uri(STREAMING)) as call:
            with trio.fail_after(PATIENCE):
                await call.ended.wait()
            assert call.ended_by == "remote"

    async def configure(self, file: str, section: str, line: str, reload: str) -> None:
        """Change a setting of the running PBX."""
        path = self.pbx.directory / "etc" / file
        path.write_text(f"{path.read_text()}\n[{section}](+)\n{line}\n")
        await self.pbx.cli(reload)

    async def channels(self) -> list[str]:
        return (await self.pbx.cli("core show channels concise")).strip().splitlines()

    async def in_application(self) -> list[str]:
        """The channels that wait in Stasis: a caller's, and media channels."""
        return [channel for channel in await self.channels() if "!Stasis!" in channel]

    async def bridges(self) -> list[str]:
        return (await self.pbx.cli("bridge show all")).strip().splitlines()[1:]

    async def nothing_is_stuck(self) -> None:
        """Soon there is no channel and no bridge any more."""
        with trio.move_on_after(SOON):
            while await self.channels() or await self.bridges():
                await trio.sleep(0.1)
        assert (await self.channels(), await self.bridges()) == ([], [])


@asynccontextmanager
async def a_host(
    prefix: Prefix,
    directory: Path,
    *,
    extra: str = "[calls]\ndrain_timeout = 1.0",
    dialplan: str = "",
    lines: str = "",
) -> AsyncIterator[Host]:
    """`lines` go into the tables of both agents."""
    async with PrivateAsterisk(prefix, extra_dialplan=DIALPLAN + dialplan) as pbx, open_house() as house:
        greeting = f'greeting = "{GREETING}"\n{lines}\n'
        agents = house.deepgram_agent("default", greeting) + house.deepgram_agent(
            "files", f'{greeting}downstream_mode = "file"'
        )
        config = write_config(directory / "agent.toml", pbx, extra=extra, agents=agents)
        yield Host(pbx, house, config)


async def until(state: Callable[[], bool], seconds: float = PATIENCE) -> None:
    with trio.fail_after(seconds):
        while not state():
            await trio.sleep(0.02)


async def until_one_is_in_application(host: Host) -> None:
    with trio.fail_after(PATIENCE):
        while not await host.in_application():
            await trio.sleep(0.01)


async def handed_back(host: Host, call: Call, seconds: float = SOON) -> None:
    """Soon nobody is in the application any more, and the dialplan goes on with the caller to its end."""
    with trio.fail_after(seconds):
        while await host.in_application():
            await trio.sleep(0.1)
    with trio.fail_after(PATIENCE):
        await call.ended.wait()
    assert call.ended_by == "remote"


async def greeted(daemon: Daemon, since: int = 0) -> None:
    await daemon.wait_for("utterance heard", start=since, timeout=PATIENCE)


async def served_as_ever(host: Host, daemon: Daemon) -> None:
    """A call from now on is served, and leaves nothing."""
    since = len(daemon.lines)
    async with host.caller() as call:
        await greeted(daemon, since)
        await call.hangup()
    await daemon.until_idle()
    await host.nothing_is_stuck()


async def test_asterisk_complains_of_nothing_when_agentd_connects_and_connects_again(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """It warned of an application that it did not know yet, once a connection."""
    async with a_host(pbx_prefix, tmp_path) as host:
        for _ in range(2):
            async with host.daemon() as daemon:
                await daemon.wait_for("ARI event stream is up", timeout=PATIENCE)
                await served_as_ever(host, daemon)
        assert host.pbx.complaints() == []


# --- agentd ends


@pytest.mark.parametrize("begun", ["ARI event stream is up", "call", "media leg bound"])
async def test_callers_of_a_daemon_that_is_killed_go_on_as_soon_as_it_is_up_again(
    begun: str, pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """Before it was answered, while its leg is made, in mid-call."""
    async with a_host(pbx_prefix, tmp_path) as host:
        async with host.daemon() as first, host.caller() as call:
            if begun != "ARI event stream is up":
                await first.wait_for(begun, timeout=PATIENCE)
            else:
                await until_one_is_in_application(host)
            first.process.kill()
            await first.process.wait()
            async with host.daemon() as second:
                await handed_back(host, call)
                await host.nothing_is_stuck()
                await served_as_ever(host, second)


@pytest.mark.parametrize("begun", ["call", "media leg bound", "utterance heard"])
async def test_sigterm_hands_every_caller_back(begun: str, pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with a_host(pbx_prefix, tmp_path) as host, host.daemon() as daemon, host.caller() as call:
        await daemon.wait_for(begun, timeout=PATIENCE)
        daemon.process.terminate()
        await handed_back(host, call, PATIENCE)
        await host.nothing_is_stuck()
        with trio.fail_after(PATIENCE):
            assert await daemon.process.wait() == 0


async def test_sigterm_in_a_reload_ends_the_daemon(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with a_host(pbx_prefix, tmp_path) as host, host.daemon() as daemon, host.caller() as call:
        await greeted(daemon)
        host.config.write_text(host.config.read_text().replace(GREETING, "Welcome."))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.process.terminate()
        await handed_back(host, call, PATIENCE)
        with trio.fail_after(PATIENCE):
            assert await daemon.process.wait() == 0
        await host.nothing_is_stuck()


# --- Asterisk


async def test_a_freeze_of_asterisk_ends_no_daemon_and_strands_nobody(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with a_host(pbx_prefix, tmp_path) as host, host.daemon() as daemon:
        async with host.caller() as call:
            await greeted(daemon)
            os.kill(host.pbx.pid, signal.SIGSTOP)
            await trio.sleep(10.0)
            os.kill(host.pbx.pid, signal.SIGCONT)
            await trio.sleep(1.0)
            await call.hangup()
        await daemon.until_idle(PATIENCE)
        await host.nothing_is_stuck()
        await served_as_ever(host, daemon)


async def test_a_user_who_may_only_read_is_told_and_callers_are_not_kept(pbx_prefix: Prefix, tmp_path: Path) -> None:
    async with a_host(pbx_prefix, tmp_path) as host, host.daemon() as daemon:
        await served_as_ever(host, daemon)
        await host.configure("ari.conf", "agentd", "read_only = yes", "module reload res_ari.so")
        since = len(daemon.lines)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.apologised_to)
            await daemon.wait_for("Asterisk refuses agentd's requests", start=since, timeout=PATIENCE)
            told = await daemon.wait_for("the caller cannot be answered", start=since)
            assert "read_only = no" in told["remedy"]
            with trio.fail_after(PATIENCE):
                while (await daemon.health())[0] != 503:
                    await trio.sleep(0.1)
            await host.apologised_to()  # the next one is not let in: the application is not there
            assert await host.in_application(), "the first one still waits"
            await host.configure("ari.conf", "agentd", "read_only = no", "module reload res_ari.so")
        await host.nothing_is_stuck()
        with trio.fail_after(PATIENCE):
            while (await daemon.health())[0] != 200:
                await trio.sleep(0.1)
        await served_as_ever(host, daemon)


async def test_an_application_that_another_program_took_for_a_moment_is_ours_again(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    async with a_host(pbx_prefix, tmp_path) as host, host.daemon() as daemon:
        other = WebSocket(daemon_events(host), basic(host), max_message=1 << 18)
        async with trio.open_nursery() as nursery:
            await nursery.start(other.run)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        with trio.fail_after(PATIENCE):
            while (await daemon.health())[0] != 200 or not daemon.having("ARI event stream is up")[1:]:
                await trio.sleep(0.1)
        await served_as_ever(host, daemon)


def daemon_events(host: Host) -> str:
    return f"ws://127.0.0.1:{host.pbx.http_port}/ari/events?app=agentd"


def basic(host: Host) -> tuple[tuple[str, str], ...]:
    from base64 import b64encode

    token = b64encode(f"{host.pbx.ari_user}:{host.pbx.ari_password}".encode()).decode()
    return (("Authorization", f"Basic {token}"),)


async def test_at_the_limit_of_its_http_sessions_callers_wait_for_no_longer_than_the_limit_is_reached(
    pbx_prefix: Prefix, tmp_path: Path
) -> None:
    """Beyond `sessionlimit` Asterisk closes connections at once (main/http.c: httpd_helper_thread)."""
    async with a_host(pbx_prefix, tmp_path) as host, host.daemon() as daemon:
        await served_as_ever(host, daemon)
        await host.configure("http.conf", "general", "sessionlimit = 8", "module reload http")
        idle = [await trio.open_tcp_stream("127.0.0.1", host.pbx.http_port) for _ in range(12)]
        async with trio.open_nursery() as nursery:
            calls: list[Call] = []

            async def caller() -> None:
                async with host.caller() as call:
                    calls.append(call)
                    with trio.move_on_after(PATIENCE):
                        await call.ended.wait()
                    await call.hangup()

            for _ in range(4):
                nursery.start_soon(caller)
            await trio.sleep(8.0)
            for stream in idle:
                await trio.aclose_forcefully(stream)
            await trio.sleep(SOON)
            active, waiting = callers(await daemon.metrics())
            here = [channel for channel in await host.in_application() if channel.startswith("PJSIP/")]
            assert len(here) <= active + waiting, "somebody waits whom nobody serves"
            nursery.cancel_scope.cancel()
        await daemon.until_idle(PATIENCE)
        await host.nothing_is_stuck()
        await served_as_ever(host, daemon)


def callers(metrics: str) -> tuple[float, float]:
    """Those who are served, and those who wait for their set-up."""
    told = dict(line.split(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    return float(told["agentd_calls_active"]), float(told["agentd_callers_waiting"])


# --- this host


async def test_a_full_media_directory_keeps_no_caller(pbx_prefix: Prefix, tmp_path: Path) -> None:
    """The greeting of an agent that plays files cannot be written: the caller goes on in the dialplan."""
    async with a_host(pbx_prefix, tmp_path) as host:
        directory = Path(host.pbx.media_directory)
        mounted = await trio.run_process(
            ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", str(directory)],
            check=False,
            capture_stderr=True,
        )
        if mounted.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
        try:
            async with host.daemon() as daemon, host.caller() as other:
                await greeted(daemon)
                (directory / "full").write_bytes(bytes(64 << 10))
                async with host.caller(FILES) as call:
                    with trio.fail_after(PATIENCE):
                        await call.ended.wait()
                    assert call.ended_by == "remote", "the dialplan went on to its end"
                assert not other.ended.is_set()
                await other.hangup()
                await daemon.until_idle()
                await host.nothing_is_stuck()
        finally:
            await trio.run_process(["umount", "-l", str(directory)], check=False, capture_stderr=True)
