"""wyoming-piper as it is published, in a process of its own, with our voice and without a network."""

import importlib.util
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .foreign import NoForeignProgram, running
from .ports import PortClaims

VOICE = "en_US-joe-medium"


def is_installed() -> bool:
    return importlib.util.find_spec("wyoming_piper") is not None


@asynccontextmanager
async def run_wyoming_piper(voices: Path, port: int = 0) -> AsyncIterator[str]:
    """Serve the voice in the directory `voices`; gives the server's URI. Raises NoForeignProgram."""
    if not is_installed():
        raise NoForeignProgram("wyoming-piper is not installed (just setup-dev)")
    claims = PortClaims()
    port = port or claims.tcp()
    uri = f"tcp://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as nothing:
        command = [
            *(sys.executable, "-m", "wyoming_piper", "--uri", uri),
            *("--voice", VOICE, "--data-dir", str(voices), "--download-dir", nothing),
        ]
        try:
            async with running(command, port, WYOMING_PIPER_ARGS=""):
                yield uri
        finally:
            claims.release()
