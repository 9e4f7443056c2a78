"""wyoming-piper as it is published, in a process of its own, with our voice and without a network."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .ports import PortClaims

VOICE = "en_US-joe-medium"
START_SECONDS = 30


class NoWyomingPiper(Exception):
    """It is not installed, or did not start; the message says which."""


def is_installed() -> bool:
    return importlib.util.find_spec("wyoming_piper") is not None


@asynccontextmanager
async def run_wyoming_piper(voices: Path, port: int = 0) -> AsyncIterator[str]:
    """Serve the voice in the directory `voices`; gives the server's URI. Raises NoWyomingPiper."""
    if not is_installed():
        raise NoWyomingPiper("wyoming-piper is not installed (just setup-dev)")
    claims = PortClaims()
    uri = f"tcp://127.0.0.1:{port or claims.tcp()}"
    env = {name: value for name, value in os.environ.items() if name != "WYOMING_PIPER_ARGS"}
    with tempfile.TemporaryDirectory() as nothing:
        command = [
            *(sys.executable, "-m", "wyoming_piper", "--uri", uri),
            *("--voice", VOICE, "--data-dir", str(voices), "--download-dir", nothing),
        ]
        process = await trio.lowlevel.open_process(command, env=env, stderr=subprocess.DEVNULL)
        try:
            await _until_open(process, uri)
            yield uri
        finally:
            process.terminate()
            with trio.move_on_after(5, shield=True):
                await process.wait()
            if process.poll() is None:
                process.kill()
            claims.release()


async def _until_open(process: trio.Process, uri: str) -> None:
    host, _, port = uri.removeprefix("tcp://").rpartition(":")
    with trio.move_on_after(START_SECONDS):
        while process.poll() is None:
            try:
                stream = await trio.open_tcp_stream(host, int(port))
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return
    raise NoWyomingPiper(f"wyoming-piper did not listen at {uri} within {START_SECONDS} s (status {process.poll()})")
