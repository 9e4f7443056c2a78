"""Runs the unit and shell tests on another Python than the one that is installed: `just test-python 3.14`.

Taken is a path, or the newest Python of a version that is found on PATH, below ~/.pyenv/versions, or unpacked from
Debian by `just debian-python 3.14`; `newest` is the newest of all that are newer than ours, and none is no failure.
What the tests need is installed below build/python-VERSION, by the lock file, again only when that changed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from .debian import Wanted, cache, unpacked
from .prefix import LabUnavailable

ROOT: Final = Path(__file__).parents[2]
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""Those that pyproject.toml takes."""
NEWEST: Final = "newest"
ASK: Final = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


@attrs.frozen(order=True)
class Interpreter:
    """A Python. `version` is all of it: (3, 13, 0)."""

    version: tuple[int, ...]
    path: Path

    @property
    def name(self) -> str:
        return ".".join(map(str, self.version))


def debian(version: str) -> Wanted:
    """Debian's Python of a version."""
    package = f"python{version}"
    advice = f"Any Python {version} will do: just test-python /path/to/python{version}"
    return Wanted(f"Python {version}", (package, f"{package}-dev"), f"python/{version}", "20 MB", advice)


def interpreter_at(path: Path) -> Interpreter | None:
    """The Python that a file is; None if it is none that runs."""
    try:
        told = subprocess.run([path, "-I", "-c", ASK], capture_output=True, text=True, timeout=30, check=True).stdout
        return Interpreter(tuple(map(int, told.strip().split("."))), path)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def places(version: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a Python of a version ("3.13") may be."""
    if on_path := shutil.which(f"python{version}", path=environ.get("PATH", "")):
        yield Path(on_path)
    home = Path(environ.get("HOME", "/nonexistent"))
    yield from sorted((home / ".pyenv/versions").glob(f"{version}.*/bin/python{version}"))
    yield debian_program(cache(environ) / debian(version).place, version)


def find(wanted: str, environ: Mapping[str, str], ours: tuple[int, ...]) -> Interpreter | None:
    """The newest Python of `wanted`: a version, a path, or `newest`, which must be newer than `ours`. None if there is
    none."""
    if "/" in wanted:
        return interpreter_at(Path(wanted).absolute())
    versions = VERSIONS if wanted == NEWEST else (wanted,)
    found = [interpreter_at(place) for version in versions for place in places(version, environ)]
    newer = [one for one in found if one is not None and (wanted != NEWEST or one.version[:2] > ours[:2])]
    return max(newer, default=None)


def environment_of(interpreter: Interpreter) -> Path:
    """Install what the tests need; gives the Python of that environment. Raises CalledProcessError, after pip has told
    why: perhaps something has no wheel for that version yet."""
    directory = ROOT / "build" / f"python-{interpreter.name}"
    python = directory / "bin/python"
    lock, project = ROOT / "requirements-dev.lock", ROOT / "pyproject.toml"
    seal = hashlib.sha256(lock.read_bytes() + project.read_bytes() + bytes(interpreter.path)).hexdigest()
    stamp = directory / f"installed-{seal[:16]}"
    if stamp.exists():
        return python
    shutil.rmtree(directory, ignore_errors=True)
    print(f"Installing {lock.name} for Python {interpreter.name} into {directory}", flush=True)
    # pip is ours: Debian's Python brings none along.
    subprocess.run([interpreter.path, "-m", "venv", "--without-pip", directory], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--progress-bar", "off", "--require-hashes", "-r", str(lock)], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)
    stamp.touch()
    return python


def test(wanted: str, arguments: Sequence[str]) -> int:
    """Run the tests on a Python; gives pytest's status, 0 where `newest` found none, 1 where another did not."""
    ours = sys.version_info[:3]
    interpreter = find(wanted, os.environ, ours)
    if interpreter is None:
        looked = "looked on PATH, in ~/.pyenv/versions, and for what `just debian-python` has unpacked"
        what = f"no Python newer than {ours[0]}.{ours[1]}" if wanted == NEWEST else f"no Python {wanted}"
        print(f"{'skipped: ' if wanted == NEWEST else ''}there is {what} here ({looked})")
        return wanted != NEWEST
    print(f"Unit and shell tests on Python {interpreter.name} ({interpreter.path})", flush=True)
    try:
        python = environment_of(interpreter)
    except subprocess.CalledProcessError as error:
        print(f"what the tests need could not be installed (status {error.returncode})")
        return 1
    command = [
        str(python),
        "-m",
        "pytest",
        "-n",
        "auto",
        "--dist",
        "worksteal",
        "tests/unit",
        "tests/shell",
        "tests/field",
        *arguments,
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def debian_program(root: Path, version: str) -> Path:
    """What runs the Python that was unpacked into `root`."""
    return root / "usr/bin" / f"run-python{version}"


async def unpack(version: str) -> Path:
    """Debian's Python of a version, unpacked: a program that runs it. Raises LabUnavailable."""
    root = await unpacked(debian(version), lambda text: print(text, flush=True))
    (loader,) = root.glob("usr/lib/*/ld-linux*.so.*")
    # Through its own dynamic loader, on its own libraries. It finds its library, and an environment that has a link to
    # this program, by the name that it is called by.
    program, real = debian_program(root, version), root / "usr/bin" / f"python{version}"
    await trio.Path(program).write_text(
        f'#!/bin/sh\nexec "{loader}" --library-path "{loader.parent}" --argv0 "$0" "{real}" "$@"\n'
    )
    await trio.Path(program).chmod(0o755)
    return program


def main() -> int:
    """`test PYTHON [PYTEST ARGUMENTS]`, or `unpack VERSION`."""
    command, wanted, *arguments = sys.argv[1:]
    if command == "test":
        return test(wanted, arguments)
    if not re.fullmatch(r"3\.\d+", wanted):
        print(f"expected a version such as 3.14, got {wanted}")
        return 2
    try:
        print(trio.run(unpack, wanted))
    except LabUnavailable as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
