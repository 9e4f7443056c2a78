"""Why the daemon is told to leave: for good, or because another one takes its place. SIGTERM does not tell.

A daemon that is stopped drains its calls. One that is restarted leaves its callers where they are, for the next one to
go on with. So whoever leaves asks two witnesses:

- systemd has a job for the unit while it stops it, and its type tells: `systemctl restart` is one job of the type
  `restart`, which becomes `start` only when the process is gone (src/core/job.c, job_finish_and_invalidate). Any user
  may ask for the list of jobs, over the system bus; it changes nothing and needs no privilege.
- `agentd restart` leaves a mark in the runtime directory: for a host without that bus, and for whoever runs agentd by
  something else than systemd.

systemd's word goes first. Where neither tells of a restart, or what they tell is not what is expected, it is a stop:
that a call is drained for nothing costs a pause, that callers wait for a daemon who does not come costs their calls.
"""

import contextlib
import enum
import os
import re
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
import trio

from agentd import deadlines
from agentd.environment import INHERITED, for_child

MARK: Final = "restart"
"""The name of the mark in the runtime directory."""
MARK_HOLDS: Final = 60.0
"""Seconds for which a mark holds: systemd sends SIGTERM as soon as it has the job."""
ASKED: Final = deadlines.LEAVING_ASKED.seconds
_CGROUPS: Final = Path("/proc/self/cgroup")
_LONGEST: Final = 64
"""Bytes of a mark that are read."""
_UNIT: Final = re.compile(r"(?m)^(?:0:|\d+:name=systemd):(/.*)$")
"""A hierarchy that systemd has its units in: the unified one, or its own beside those of version 1."""
_SECONDS: Final = re.compile(r"\d{1,12}\.\d{1,9}\n?", re.ASCII)

_log = structlog.get_logger("agentd.leaving")


class Leaving(enum.Enum):
    """What the end of this daemon is a part of."""

    STOP = "stop"
    RESTART = "restart"


def judge(job: str | None, marked: bool) -> Leaving:
    """What systemd's job and the mark tell. `job` is the type of the unit's job, None where there is none. Pure."""
    if job is None:
        return Leaving.RESTART if marked else Leaving.STOP
    return Leaving.RESTART if job in ("restart", "try-restart") else Leaving.STOP


def unit_of(cgroups: str) -> str | None:
    """The name of the system's service that a process belongs to, out of its /proc/PID/cgroup (cgroups(7)); None where
    it belongs to none. Pure."""
    for path in _UNIT.findall(cgroups):
        above, _, name = path.rpartition("/")
        # The system's manager does not know the services of a user's.
        if name.endswith(".service") and "/user@" not in above:
            return str(name)
    return None


def job_of(unit: str, listing: str) -> str | None:
    """The type of the unit's job in what `systemctl list-jobs` prints: a number, a unit, a type and a state in each
    line. None where it has none. Pure."""
    for line in listing.splitlines():
        match line.split():
            case [number, name, job, _state] if number.isdecimal() and name == unit:
                return job
    return None


def mark_holds(text: str, now: float) -> bool:
    """Whether a mark was left just now. It holds the time, in seconds since the host was started. Pure."""
    return _SECONDS.fullmatch(text) is not None and 0.0 <= now - float(text) <= MARK_HOLDS


def runtime_directory(environ: Mapping[str, str] = INHERITED) -> Path | None:
    """The directory below /run that systemd has made for this service (RuntimeDirectory=); None where there is none."""
    first = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(first) if first.startswith("/") else None


async def why_told(directory: Path | None) -> Leaving:
    """Why this process was told to end. Takes `deadlines.LEAVING_ASKED` at most; raises nothing. The mark in
    `directory`, the runtime directory, is taken away."""
    marked = directory is not None and take_mark(directory)
    return judge(await _job(_own_unit()), marked)


def _own_unit() -> str | None:
    try:
        return unit_of(_CGROUPS.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


async def _job(unit: str | None) -> str | None:
    if unit is None:
        return None
    listing = None
    with trio.move_on_after(ASKED), contextlib.suppress(OSError):
        done = await trio.run_process(
            ["systemctl", "list-jobs", "--full", "--plain", "--no-legend", "--no-pager", unit],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=for_child(),
        )
        if done.returncode == 0:
            listing = done.stdout.decode("utf-8", "replace")
        else:
            _log.info("systemd does not tell its jobs", error=done.stderr.decode("utf-8", "replace").strip()[:200])
    return None if listing is None else job_of(unit, listing)


def now() -> float:
    """Seconds since the host was started, the time that it slept included: no setting of its clock changes them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def leave_mark(directory: Path) -> None:
    """Tell the daemon of this runtime directory that its next end is a restart. Raises OSError.

    Root writes into a directory that is the daemon's: whatever is there under the name is removed, nothing followed.
    """
    with contextlib.suppress(FileNotFoundError):
        (directory / MARK).unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory / MARK, flags, 0o644)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{now():.9f}\n")


def take_mark(directory: Path) -> bool:
    """Whether the mark is there and holds. It is taken away: it is good for one end."""
    try:
        descriptor = os.open(directory / MARK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        text = os.read(descriptor, _LONGEST).decode("ascii", "replace") if plain else ""
    except OSError:
        text = ""
    finally:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        (directory / MARK).unlink()
    return mark_holds(text, now())
