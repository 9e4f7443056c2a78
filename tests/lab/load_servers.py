"""Whom `bench_load` measures: the yardstick, and agentd with the example provider, each behind the private Asterisk."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import httpx
import trio

from .asterisk import PrivateAsterisk
from .bench_setup import FALLBACK
from .daemon import ROOT, environment, run_daemon, write_config
from .load import calls_up
from .packages import parrot_agent

YARDSTICK_EXTENSION = "7600"
FIRST_EXTENSION = 7601
"""Of agentd's transports."""
START_SECONDS = 10.0
METRICS_SECONDS = 20.0
SPARE_CALLS = 20
ASK_AGAIN_SECONDS = 1.0


@attrs.frozen
class Server:
    """Who takes calls at `extension`. `served` tells how many have their audio up, `metrics` agentd's metrics as text
    (empty: it has none, or they did not come in time), `without_streaming` for how many calls agentd gave the media leg
    up."""

    extension: str
    pid: int
    served: Callable[[], int]
    metrics: Callable[[], Awaitable[str]]
    without_streaming: Callable[[], int] = lambda: 0


def extensions(medias: Sequence[str]) -> dict[str, str]:
    """The extension of each of agentd's transports, by their names in the dialplan."""
    return {media: str(FIRST_EXTENSION + number) for number, media in enumerate(medias)}


def dialplan(medias: Sequence[str], yardstick_port: int) -> str:
    """For PrivateAsterisk's extra_dialplan: the yardstick, and agentd over each transport.

    Whom agentd refuses, since Asterisk or this host cannot bear one more set-up now, waits and asks again, as
    in a queue: else a busy host ends with a few calls, whatever it could serve.
    """
    lines = [
        f"exten => {YARDSTICK_EXTENSION},1,Answer()",
        f" same => n,AudioSocket(${{UUID()}},127.0.0.1:{yardstick_port})",
    ]
    for media, extension in extensions(medias).items():
        lines += [
            f"exten => {extension},1,Set(AGENTD_FALLBACK=${{CONTEXT}},{extension},again)",
            f" same => n(call),Gosub(agentd-call,${{EXTEN}},1(default,{media}))",
            " same => n,Hangup()",
            ' same => n(again),GotoIf($["${AGENTD_RESULT:0:7}" != "refused"]?over)',
            f" same => n,Wait({ASK_AGAIN_SECONDS:g})",
            " same => n,Goto(call)",
            " same => n(over),Hangup()",
        ]
    return "\n".join([*lines, ""])


@asynccontextmanager
async def open_yardstick(port: int) -> AsyncIterator[Server]:
    """The bare echo, listening on `port` of loopback. Raises trio.TooSlowError where it does not within
    START_SECONDS."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.lab.yardstick", str(port)], stdout=subprocess.PIPE, cwd=ROOT
    )
    open_calls, listening = 0, trio.Event()

    async def read(stdout: trio.abc.ReceiveStream) -> None:
        nonlocal open_calls
        rest = b""
        async for data in stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                open_calls = int(line)
                listening.set()

    async def metrics() -> str:
        await trio.lowlevel.checkpoint()
        return ""

    assert process.stdout is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, process.stdout)
            with trio.fail_after(START_SECONDS):
                await listening.wait()
            yield Server(YARDSTICK_EXTENSION, process.pid, lambda: open_calls, metrics)
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()


@asynccontextmanager
async def open_agentd(
    pbx: PrivateAsterisk, extension: str, calls: int, parrot: Path, directory: Path
) -> AsyncIterator[Server]:
    """agentd with the example provider, which is installed in `parrot`; `directory` takes its configuration."""
    limits = f"[calls]\nmax_calls = {calls + SPARE_CALLS}\n"
    config = write_config(directory / "agent.toml", pbx, extra=limits, agents=parrot_agent())
    environ = {**environment(pbx), "PYTHONPATH": os.pathsep.join([str(parrot), str(ROOT)])}
    async with run_daemon(config, environ) as daemon:

        async def metrics() -> str:
            # A daemon that is overloaded answers late, or not at all: that is a result, no reason to end.
            with suppress(httpx.HTTPError):
                return await daemon.metrics(METRICS_SECONDS)
            return ""

        yield Server(
            extension,
            daemon.process.pid,
            lambda: calls_up(daemon.lines),
            metrics,
            lambda: len(daemon.having(FALLBACK)),
        )
