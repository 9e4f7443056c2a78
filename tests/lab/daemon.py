"""The daemon as users run it: a process with a configuration file, its log read back line by line."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

from .asterisk import PrivateAsterisk

START_SECONDS = 120
POLL = 0.02
STOP_SECONDS = 60
ROOT = Path(__file__).parents[2]

Line = dict[str, Any]


class DaemonFailed(Exception):
    """The daemon did not start, died, or did not do in time what a test waits for."""


@attrs.define(eq=False)
class Daemon:
    """A running agentd. `lines` are its log lines so far, as JSON objects."""

    process: trio.Process
    health_port: int = 0
    lines: list[Line] = attrs.field(factory=list)
    on_line: Callable[[Line], None] | None = None

    async def wait_for(self, event: str, timeout: float = 20.0, start: int = 0, **fields: object) -> Line:
        """The first log line from `start` on with this event and these fields; DaemonFailed if none comes."""
        with trio.move_on_after(timeout):
            index = start
            while True:
                while index < len(self.lines):
                    line = self.lines[index]
                    index += 1
                    if line.get("event") == event and fields.items() <= line.items():
                        return line
                if self.process.returncode is not None:
                    break
                await trio.sleep(POLL)  # not an event: the log may be read in another thread's loop
        raise DaemonFailed(f"no log line {event!r} with {fields} within {timeout} s; the last lines:\n{self.tail()}")

    def having(self, event: str, **fields: object) -> list[Line]:
        """Every log line so far with this event and these fields."""
        return [line for line in self.lines if line.get("event") == event and fields.items() <= line.items()]

    def tail(self, count: int = 30) -> str:
        return "\n".join(json.dumps(line) for line in self.lines[-count:])

    async def health(self) -> tuple[int, dict[str, Any]]:
        """Status and body of GET /health."""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            answer = await client.get(f"http://127.0.0.1:{self.health_port}/health")
            return answer.status_code, answer.json()

    async def metrics(self, timeout: float = 5) -> str:
        """The text of GET /metrics. Raises httpx.HTTPError."""
        async with httpx.AsyncClient(trust_env=False, timeout=timeout) as client:
            return (await client.get(f"http://127.0.0.1:{self.health_port}/metrics")).text

    async def until_idle(self, timeout: float = 15.0) -> None:
        """Wait until no call is served."""
        with trio.fail_after(timeout):
            while (await self.health())[1]["active_calls"]:
                await trio.sleep(0.05)

    async def read_log(self) -> None:
        """Collect log lines until the process closes its stderr."""
        assert self.process.stderr is not None
        rest = b""
        async for data in self.process.stderr:
            *complete, rest = (rest + data).split(b"\n")
            for raw in complete:
                try:
                    line = json.loads(raw)
                except ValueError:
                    line = {"event": "not a log line", "raw": raw.decode(errors="replace")}
                self.lines.append(line)
                if self.on_line is not None:
                    self.on_line(line)


def write_config(
    path: Path,
    pbx: PrivateAsterisk,
    *,
    ari_url: str = "",
    socket_port: int | None = None,
    asterisk: str = "",
    audiosocket: str = "",
    rtp: str = "",
    extra: str = "",
    agents: str = "[agents.default]",
) -> Path:
    """A configuration for the private PBX: loopback, free ports, transcripts in the log.

    `socket_port` is where agentd listens if something stands between it and the port Asterisk connects to.
    """
    path.write_text(
        f"""
[asterisk]
url = "{ari_url or pbx.ari_url.removesuffix("/ari")}"
require_at_start = true
{asterisk}
[audiosocket]
port = {pbx.agent_port if socket_port is None else socket_port}
advertise = "127.0.0.1:{pbx.agent_port}"
{audiosocket}
[rtp]
first_port = {pbx.agent_rtp}
last_port = {pbx.agent_rtp + pbx.agent_rtp_ports - 1}
{rtp}
[media]
directory = "{pbx.media_directory}"
[health]
host = "127.0.0.1"
port = 0
[logging]
format = "json"
transcripts = true
{extra}
{agents}
"""
    )
    return path


def environment(pbx: PrivateAsterisk) -> dict[str, str]:
    """The environment of a daemon for the private PBX; its ARI password is nowhere else."""
    return {**os.environ, "AGENTD_ARI_PASSWORD": pbx.ari_password, "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def run_daemon(
    config: Path,
    env: Mapping[str, str],
    on_line: Callable[[Line], None] | None = None,
    command: tuple[str, ...] = (sys.executable, "-m", "agentd"),
    up: str = "agentd is up",
) -> AsyncIterator[Daemon]:
    """Start the daemon, wait until it is up, and stop it by SIGTERM at the end of the block. `up` is what it logs
    then."""
    process = await trio.lowlevel.open_process(
        [*command, "--config", str(config)], stderr=subprocess.PIPE, env=dict(env), cwd=ROOT
    )
    daemon = Daemon(process, on_line=on_line)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.read_log)
        try:
            daemon.health_port = (await daemon.wait_for(up, timeout=START_SECONDS))["health_port"]
            yield daemon
        finally:
            with trio.move_on_after(STOP_SECONDS, shield=True):
                if process.poll() is None:
                    process.terminate()
                await process.wait()
            if process.poll() is None:
                process.kill()
                with trio.move_on_after(5, shield=True):
                    await process.wait()
            with trio.move_on_after(2, shield=True):
                while process.stderr is not None and nursery.child_tasks:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
