"""A private Asterisk for a test: own directory, own ports, own passwords, the project's own configuration."""

import contextlib
import secrets
import shutil
import string
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from agentd.addresses import host_port

from .debian import find_or_unpack
from .ports import PortClaims
from .prefix import LabUnavailable, Prefix

__all__ = ["ASTERISK_CONF", "AsteriskFailed", "LabUnavailable", "Prefix", "PrivateAsterisk", "find_or_unpack"]

ASTERISK_CONF = Path(__file__).parents[2] / "asterisk_conf"
TEMPLATES = Path(__file__).parent / "etc"
LEASH = Path(__file__).parent / "leash.py"

# Asterisk complains about each of these if it is absent; the defaults do.
_EMPTY_SECTIONS = ("ccss", "features", "udptl", "chan_websocket", "stasis")
_ABSENT = ("acl", "musiconhold", "websocket_client", "pjproject", "res_audiosocket", "cli_aliases")
_DISABLED = ("cdr", "cel")

BOOT_SECONDS = 20
STOP_SECONDS = 5
CLI_SECONDS = 10


class AsteriskFailed(Exception):
    """The private Asterisk did not start, died, or did not answer its command line."""


class _Template(string.Template):
    # The dialplan's own variables are ${NAME}.
    delimiter = "@"


class PrivateAsterisk:
    """`async with PrivateAsterisk(prefix) as pbx:` is a running PBX with the files of asterisk_conf.

    Callers from 127.0.0.1 come into context `from-lab`, which includes the project's `agentd` and has
    `extra_dialplan` as its further lines (`exten => 600,1,...`; it may open contexts of its own).
    Nothing but addresses, passwords and AGENTD_SOCKET differs from the files as an administrator gets them.

    Entering raises AsteriskFailed, with the end of the log, if Asterisk has not booted within BOOT_SECONDS.
    Leaving stops it within STOP_SECONDS, also when cancelled, and kills it if need be; it does not outlive
    this process either. Several may run side by side.
    """

    def __init__(
        self,
        prefix: Prefix,
        *,
        directory: Path | None = None,
        conf: Path = ASTERISK_CONF,
        extra_dialplan: str = "",
        sip_host: str = "127.0.0.1",
        http_host: str = "127.0.0.1",
        http_prefix: str = "",
        agent_host: str = "127.0.0.1",
        sip_port: int | None = None,
        http_port: int | None = None,
        agent_port: int | None = None,
        rtp_ports: int = 240,
        agent_rtp_ports: int = 20,
    ) -> None:
        self.prefix = prefix
        self._conf = conf
        self._extra_dialplan = extra_dialplan
        self._kept = directory
        self._claims = PortClaims()
        self._process: trio.Process | None = None
        self._asked_ports = (sip_port, http_port, agent_port, rtp_ports)
        self.agent_rtp_ports = agent_rtp_ports
        """UDP ports of the agentd beside it, for calls by RTP, from `agent_rtp` on."""
        self.sip_host = sip_host
        self.http_host = http_host
        self.http_prefix = http_prefix
        self.agent_host = agent_host
        self.ari_user = "agentd"
        self.ari_password = secrets.token_urlsafe(18)
        self.phone_password = secrets.token_urlsafe(12)

    async def __aenter__(self) -> Self:
        sip_port, http_port, agent_port, rtp_ports = self._asked_ports
        self.sip_port = sip_port or self._claims.udp()
        self.http_port = http_port or self._claims.tcp()
        self.agent_port = agent_port or self._claims.tcp()
        self.ami_port = self._claims.tcp()
        self.rtp_start = self._claims.udp(rtp_ports)
        self.agent_rtp = self._claims.udp(self.agent_rtp_ports)
        self.rtp_end = self.rtp_start + rtp_ports - 1
        # A Unix socket's path has at most 107 bytes, so the control socket is not below `directory`.
        self._run_directory = Path(tempfile.mkdtemp(prefix="agentd-pbx-"))
        self.directory = (self._kept or self._run_directory / "lab").resolve()
        try:
            self._render()
            await self._start()
        except BaseException:
            with trio.move_on_after(2 * STOP_SECONDS, shield=True):
                await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with trio.move_on_after(2 * STOP_SECONDS, shield=True):
                await self.stop()
        finally:
            self._claims.release()
            shutil.rmtree(self._run_directory, ignore_errors=True)

    @property
    def media_directory(self) -> Path:
        """A directory that Asterisk reads sound files from: play `sound:<this>/NAME` without the suffix."""
        return self.directory / "media"

    @property
    def log_path(self) -> Path:
        """Notices, warnings, errors and verbose lines up to 3, of all starts of this PBX."""
        return self.directory / "log" / "messages.log"

    @property
    def ari_url(self) -> str:
        prefix = f"/{self.http_prefix}" if self.http_prefix else ""
        return f"http://{host_port(self.http_host, self.http_port)}{prefix}/ari"

    @property
    def pid(self) -> int:
        """Asterisk's own process id, for measuring; another one after restart()."""
        return int((self._run_directory / "asterisk.pid").read_text("ascii"))

    def sip_uri(self, extension: str) -> str:
        """What a caller dials to reach `extension`."""
        return f"sip:{extension}@127.0.0.1:{self.sip_port}"

    def complaints(self) -> list[str]:
        """The warnings and errors that Asterisk has logged so far."""
        lines = self.log_path.read_text("utf-8", "replace").splitlines()
        return [line for line in lines if "WARNING[" in line or "ERROR[" in line]

    async def cli(self, command: str) -> str:
        """What Asterisk's command line answers, e.g. to `core show channels`.

        Raises AsteriskFailed if it does not answer within CLI_SECONDS. Cancellation leaves the PBX as it is.
        """
        asterisk_conf = str(self.directory / "etc" / "asterisk.conf")
        with trio.move_on_after(CLI_SECONDS):
            done = await trio.run_process(
                [*self.prefix.command(), "-C", asterisk_conf, "-rx", command],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode != 0:
                complaint = (done.stderr + done.stdout).decode("utf-8", "replace").strip()
                raise AsteriskFailed(f"`{command}`: status {done.returncode}: {complaint}")
            return done.stdout.decode("utf-8", "replace")
        raise AsteriskFailed(f"`{command}`: no answer within {CLI_SECONDS} s")

    async def restart(self) -> None:
        """Stop Asterisk and start it again on the same ports; every call and every ARI connection ends."""
        await self.stop()
        await self._start()

    async def kill(self) -> None:
        """End Asterisk at once, as a crash would; `restart()` brings it back."""
        if self._process is not None:
            self._process.kill()
            await self._reap()

    async def stop(self) -> None:
        """End Asterisk, in good order if that is done within STOP_SECONDS; cancellation does not cut it."""
        if self._process is None:
            return
        with trio.CancelScope(shield=True):
            with trio.move_on_after(STOP_SECONDS), contextlib.suppress(AsteriskFailed):
                await self.cli("core stop now")
                await self._process.wait()
            self._process.kill()
            await self._reap()

    async def _reap(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        with trio.CancelScope(shield=True):
            await self._process.wait()
            await self._process.stdin.aclose()
        self._process = None

    async def _start(self) -> None:
        command = [*self.prefix.command(), "-f", "-C", str(self.directory / "etc" / "asterisk.conf")]
        with (self.directory / "log" / "console.log").open("ab") as console:
            # Shielded: cancelled in here, a started process would belong to nobody.
            with trio.CancelScope(shield=True):
                leashed = [sys.executable, "-I", str(LEASH), *command]
                process = await trio.lowlevel.open_process(
                    leashed, stdin=subprocess.PIPE, stdout=console, stderr=console
                )
                self._process = process
        with trio.move_on_after(BOOT_SECONDS):
            while process.poll() is None:
                if (self._run_directory / "asterisk.ctl").exists():
                    with contextlib.suppress(AsteriskFailed):
                        if "fully booted" in await self.cli("core waitfullybooted"):
                            return
                await trio.sleep(0.03)
            raise AsteriskFailed(f"Asterisk ended while it booted:\n{self._log_end()}")
        raise AsteriskFailed(f"Asterisk was not fully booted within {BOOT_SECONDS} s:\n{self._log_end()}")

    def _log_end(self) -> str:
        logs = [self.directory / "log" / "console.log", self.log_path]
        lines = [line for log in logs if log.exists() for line in log.read_text("utf-8", "replace").splitlines()[-20:]]
        return "\n".join(lines)

    def _render(self) -> None:
        # Files of an earlier run in the same directory would be taken for this one's.
        for name in ("etc", "log", "spool", "varlib", "agi", "cache", "media", "data"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
            (self.directory / name).mkdir(parents=True)
        sounds = self.directory / "data" / "sounds"
        sounds.mkdir()
        for name in ("documentation", "rest-api"):
            if (self.prefix.data / name).exists():
                (self.directory / "data" / name).symlink_to(self.prefix.data / name)
        if self.prefix.sounds:
            (sounds / "en").symlink_to(self.prefix.sounds[0])
        values = {
            "directory": self.directory,
            "run_directory": self._run_directory,
            "conf": self._conf,
            "root": str(self.prefix.root).rstrip("/"),
            "modules": self.prefix.modules,
            "sip_host": self.sip_host,
            "sip_port": self.sip_port,
            "http_host": self.http_host,
            "http_port": self.http_port,
            "http_prefix": self.http_prefix,
            "agent_socket": host_port(self.agent_host, self.agent_port),
            "rtp_start": self.rtp_start,
            "rtp_end": self.rtp_end,
            "ami_port": self.ami_port,
            "ari_password": self.ari_password,
            "phone_password": self.phone_password,
            "extra_dialplan": self._extra_dialplan,
        }
        etc = self.directory / "etc"
        for template in TEMPLATES.glob("*.conf"):
            (etc / template.name).write_text(_Template(template.read_text("utf-8")).substitute(values), "utf-8")
        for name in _EMPTY_SECTIONS:
            (etc / f"{name}.conf").write_text("[general]\n", "utf-8")
        for name in _DISABLED:
            (etc / f"{name}.conf").write_text("[general]\nenable = no\n", "utf-8")
        for name in _ABSENT:
            (etc / f"{name}.conf").touch()
