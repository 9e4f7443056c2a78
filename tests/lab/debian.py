"""Debian's packages, unpacked below the user's cache: no root, no container, nothing installed. Asterisk first of all.

A private apt (own sources, own empty status file) downloads the whole closure, libc included, and
`dpkg-deb --extract` lays it out. apt verifies the archive's signatures as always.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import attrs
import trio

from .prefix import LabUnavailable, Prefix, examine, find

Progress = Callable[[str], None]

# Debian's stable releases carry no Asterisk with AudioSocket, and no Python newer than their own.
SUITES = ("forky", "sid")
KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
)

UPDATE_SECONDS = 120
DOWNLOAD_SECONDS = 600
EXTRACT_SECONDS = 300
LOCK_SECONDS = 900


@attrs.frozen
class Wanted:
    """A program of Debian's."""

    name: str
    """As people call it."""
    packages: tuple[str, ...]
    """The first is the program's own."""
    place: str
    """The directory below the cache."""
    size: str
    """What is downloaded."""
    advice: str
    """What else to do, where it cannot be had."""
    fit: Callable[[Path], object] = lambda _root: None
    """Looks at what was unpacked; raises LabUnavailable where it will not do."""
    suites: tuple[str, ...] = SUITES
    """Debian's releases to look in, the first that has it."""
    alone: bool = False
    """Without what it depends on: there is nothing to run in it."""


ASTERISK = Wanted(
    "Asterisk",
    ("asterisk", "asterisk-core-sounds-en-wav", "asterisk-core-sounds-en"),
    "pbx/debian",
    "90 MB",
    "Install Asterisk 18 or later, or set AGENTD_PBX_PREFIX to a directory that holds one.",
    examine,
)

_APT_CONF = """\
Dir "{apt}"; Dir::Etc "{apt}/etc"; Dir::Etc::main "/dev/null"; Dir::Etc::parts "{apt}/etc/parts";
Dir::Etc::sourcelist "{apt}/etc/sources.list"; Dir::Etc::sourceparts "{apt}/etc/parts";
Dir::State "{apt}/state"; Dir::State::status "{apt}/state/status"; Dir::Cache "{apt}/cache";
APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false"; APT::Sandbox::User ""; Debug::NoLocking "true";
Acquire::Languages "none"; Acquire::Retries "3";
// Mirrors and snapshots of a moving suite outlive their lists; signatures are still checked.
Acquire::Check-Valid-Until "false";
"""


async def find_or_unpack(progress: Progress) -> Prefix:
    """An Asterisk for the lab: AGENTD_PBX_PREFIX, the system's, the cached one, else Debian's, fetched now.

    Raises LabUnavailable as `unpacked` does.
    """
    return find() or examine(await unpacked(ASTERISK, progress))


async def unpacked(wanted: Wanted, progress: Progress) -> Path:
    """The directory that holds Debian's packages of something, with all that they depend on, libc included, unless
    they are wanted alone; they are fetched if they are not there. They do not run by themselves: their dynamic loader
    runs them.

    `progress` hears one line a step. All is below `${XDG_CACHE_HOME:-~/.cache}/agentd`, and fetched once; processes
    that race wait for the first.

    Raises LabUnavailable saying why it cannot be had. On cancellation a half-made copy is not taken for whole.
    """
    place = cache(os.environ) / wanted.place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabUnavailable(f"{place.parent}: cannot be made: {error}. {wanted.advice}") from error
    if not _complete(place, wanted):
        async with _locked(place.parent / "lock", wanted, progress):
            # Another process may have finished it while this one waited for the lock.
            if not _complete(place, wanted):
                await _unpack(wanted, place, progress)
    return place


def cache(environ: Mapping[str, str]) -> Path:
    """The directory that everything is unpacked below."""
    home = environ.get("HOME") or Path.home()
    return Path(environ.get("XDG_CACHE_HOME") or Path(home) / ".cache") / "agentd"


def _complete(place: Path, wanted: Wanted) -> bool:
    marker = place / "agentd-lab.json"
    return marker.is_file() and json.loads(marker.read_text("utf-8"))["packages"] == list(wanted.packages)


@asynccontextmanager
async def _locked(path: Path, wanted: Wanted, progress: Progress) -> AsyncIterator[None]:
    with path.open("w") as lock:
        with trio.move_on_after(LOCK_SECONDS) as patience:
            if not _try_lock(lock):
                progress(f"another process is fetching {wanted.name}; waiting for it ({path})")
                while not _try_lock(lock):
                    await trio.sleep(0.2)
        if patience.cancelled_caught:
            raise LabUnavailable(f"{path}: another process still held this lock after {LOCK_SECONDS} s")
        yield


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _unpack(wanted: Wanted, place: Path, progress: Progress) -> None:
    for tool in ("apt-get", "apt-cache", "apt-config", "dpkg", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise LabUnavailable(f"this system has no {tool} to fetch {wanted.name} with. {wanted.advice}")
    try:
        keyring, mirror = _archive_keyring(), debian_mirror()
    except LabUnavailable as error:
        raise LabUnavailable(f"{wanted.name} cannot be fetched: {error}. {wanted.advice}") from error
    # What a killed process left; this one holds the lock.
    await trio.to_thread.run_sync(_remove_leftovers, place.parent)
    refusals = []
    for suite in wanted.suites:
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=place.parent))
        try:
            await _unpack_suite(suite, mirror, keyring, wanted, partial, place, progress)
            return
        except LabUnavailable as error:
            refusals.append(f"{suite}: {error}")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    raise LabUnavailable(
        f"{wanted.name} could not be fetched from {mirror}:\n  " + "\n  ".join(refusals) + f"\n{wanted.advice}"
    )


def _remove_leftovers(cache: Path) -> None:
    for leftover in cache.glob("partial-*"):
        shutil.rmtree(leftover)


def _put_in_place(root: Path, place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    # The directory appears whole or not at all.
    root.rename(place)


def _archive_keyring() -> Path:
    for name in KEYRINGS:
        if (keyring := Path(name)).exists():
            return keyring
    raise LabUnavailable(f"no Debian archive keyring at {' or '.join(KEYRINGS)}; install debian-archive-keyring")


def debian_mirror(sources: Path = Path("/etc/apt")) -> str:
    """The Debian mirror to fetch from: AGENTD_PBX_MIRROR, else the first one this system's apt uses.

    Raises LabUnavailable if there is neither.
    """
    if named := os.environ.get("AGENTD_PBX_MIRROR"):
        return named.rstrip("/")
    files = [sources / "sources.list", *sorted(sources.glob("sources.list.d/*"))]
    for line in (line for file in files if file.is_file() for line in file.read_text("utf-8").splitlines()):
        if match := re.search(r"^[^#]*?(https?://\S+?/debian)/?(?:\s|$)", line):
            return match[1]
    raise LabUnavailable(f"{sources} names no Debian mirror; set AGENTD_PBX_MIRROR to the address of one")


async def _unpack_suite(
    suite: str, mirror: str, keyring: Path, wanted: Wanted, partial: Path, place: Path, progress: Progress
) -> None:
    apt = partial / "apt"
    for name in ("etc/parts", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True)
    (apt / "state/status").touch()
    architecture = (await _output(["dpkg", "--print-architecture"], 10)).strip()
    # The host's proxies, and nothing else of its apt configuration.
    transport = await _output(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire::http", "Acquire::https"], 10)
    (apt / "apt.conf").write_text(transport + _APT_CONF.format(apt=apt, architecture=architecture), "utf-8")
    source = f"deb [signed-by={keyring} arch={architecture}] {mirror} {suite} main\n"
    (apt / "etc/sources.list").write_text(source, "utf-8")
    environment = {**os.environ, "APT_CONFIG": str(apt / "apt.conf"), "LC_ALL": "C.UTF-8"}

    progress(f"looking for {wanted.name} in Debian {suite} ({mirror})")
    await _output(["apt-get", "-qq", "update"], UPDATE_SECONDS, environment)
    policy = await _output(["apt-cache", "policy", wanted.packages[0]], 30, environment)
    candidate = re.search(r"Candidate: (\S+)", policy)
    if candidate is None or candidate[1] == "(none)":
        raise LabUnavailable(f"the suite has no package {wanted.packages[0]}")
    progress(f"downloading {wanted.name} {candidate[1]} and its libraries, about {wanted.size}")
    into = apt / "cache/archives"
    how = ["download"] if wanted.alone else ["--yes", "--download-only", "install"]
    await _output(["apt-get", "-qq", *how, *wanted.packages], DOWNLOAD_SECONDS, environment, into)
    archives = sorted(into.glob("*.deb"))
    progress(f"unpacking {len(archives)} packages")
    root = partial / "root"
    root.mkdir()
    with trio.move_on_after(EXTRACT_SECONDS) as patience:
        for archive in archives:
            await _output(["dpkg-deb", "--extract", str(archive), str(root)], 60)
    if patience.cancelled_caught:
        raise LabUnavailable(f"unpacking was not done after {EXTRACT_SECONDS} s")
    wanted.fit(root)
    marker = {
        "packages": wanted.packages,
        "suite": suite,
        "version": candidate[1],
        "archives": [a.name for a in archives],
    }
    (root / "agentd-lab.json").write_text(json.dumps(marker, indent=1), "utf-8")
    await trio.to_thread.run_sync(_put_in_place, root, place)
    progress(f"{wanted.name} {candidate[1]} is ready in {place}")


async def _output(
    command: list[str], seconds: float, environment: dict[str, str] | None = None, folder: Path | None = None
) -> str:
    with trio.move_on_after(seconds):
        done = await trio.run_process(
            command,
            env=environment,
            cwd=folder,
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "replace")
        complaint = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-600:]
        raise LabUnavailable(f"`{' '.join(command[:4])}` failed with status {done.returncode}: {complaint}")
    raise LabUnavailable(f"`{' '.join(command[:4])}` was not done after {seconds:g} s")
