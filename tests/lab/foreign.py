"""Programs of other people's, as a package index has them, each in an environment of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from .debian import cache
from .other_python import VERSIONS, Interpreter, find, unpack
from .prefix import LabUnavailable

INSTALL_SECONDS = 240
START_SECONDS = 60


class NoForeignProgram(Exception):
    """It cannot be installed here, or did not start; the message says which."""


@attrs.frozen
class Foreign:
    """A package by its name and version, and the oldest Python that it takes."""

    package: str
    python: tuple[int, int]

    def interpreter(self, environ: Mapping[str, str]) -> Path:
        """The Python of the environment that it is installed in, made if need be, below the lab's cache. Raises
        NoForeignProgram."""
        directory = cache(environ) / "foreign" / self.package
        python = directory / "bin" / "python"
        stamp = directory / "installed"
        if stamp.exists() and python.exists():
            return python
        base = self._base(environ)
        half_made = directory.with_name(f"{directory.name}.{os.getpid()}")
        try:
            subprocess.run([base, "-m", "venv", "--without-pip", half_made], check=True, timeout=60)
            pip = [sys.executable, "-m", "pip", "--python", str(half_made / "bin" / "python"), "install", "--quiet"]
            done = subprocess.run(
                [*pip, "--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:", self.package],
                capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False,
            )  # fmt: skip
            if done.returncode:
                raise NoForeignProgram(f"no package index gives {self.package}: {done.stderr.strip()[-300:]}")
            shutil.rmtree(directory, ignore_errors=True)
            half_made.rename(directory)  # `python -m` does not mind: what names the old place are scripts
        finally:
            shutil.rmtree(half_made, ignore_errors=True)
        stamp.touch()
        return python

    def _base(self, environ: Mapping[str, str]) -> Path:
        fit = [version for version in VERSIONS if tuple(map(int, version.split("."))) >= self.python]
        ours = Interpreter(sys.version_info[:3], Path(sys.executable))
        if ours.version[:2] >= self.python:
            return ours.path
        found = [one for version in fit if (one := find(version, environ, ours.version)) is not None]
        if found:
            return found[0].path
        try:
            return trio.run(unpack, fit[-1])
        except LabUnavailable as error:
            raise NoForeignProgram(f"{self.package} needs Python {'.'.join(map(str, self.python))}: {error}") from error


def interpreter_or_skip(foreign: Foreign) -> Path:
    """For a fixture: the same; without it the test is skipped with the reason, and fails in CI."""
    try:
        return foreign.interpreter(os.environ)
    except (NoForeignProgram, subprocess.SubprocessError) as error:
        reason = f"{foreign.package} NOT TRIED: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@asynccontextmanager
async def running(command: list[str], port: int, **environ: str) -> AsyncIterator[None]:
    """A program that listens on a port of 127.0.0.1, for as long as the block runs. Raises NoForeignProgram."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    process = await trio.lowlevel.open_process(command, env=kept | environ, stderr=subprocess.DEVNULL)
    try:
        await _until_open(process, " ".join(command[:3]), port)
        yield
    finally:
        process.terminate()
        with trio.move_on_after(5, shield=True):
            await process.wait()
        if process.poll() is None:
            process.kill()


async def _until_open(process: trio.Process, name: str, port: int) -> None:
    with trio.move_on_after(START_SECONDS):
        while process.poll() is None:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return
    raise NoForeignProgram(f"{name} did not listen on {port} within {START_SECONDS} s (status {process.poll()})")
