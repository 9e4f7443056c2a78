"""The files of the calls' records: a directory that lives in memory, one file a call, for the agentd that comes next.

systemd makes the directory (RuntimeDirectory=) and keeps it over a restart (RuntimeDirectoryPreserve=restart); tmpfs
forgets it when the host goes down. What callers said is in it and goes to no disk: a directory on anything else is not
used. Everything here blocks for as long as memory takes.
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs

from agentd.calls.record import MOST_BYTES

FILE_MODE: Final = 0o600
IN_MEMORY: Final = ("tmpfs", "ramfs")
"""File systems that live in memory (filesystems(5))."""
MOST_FILES: Final = 4096
"""Files that are looked at when agentd starts; there are as many as there were calls."""
_ENDING, _WORDS, _UNFINISHED = ".call", ".words", ".new"
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
"""How proc(5) writes a space in a name."""


class RecordsUnusable(Exception):
    """No records can be kept; the message says why, and what helps."""


class RecordsTaken(RecordsUnusable):
    """Another agentd that serves the same application is alive: its callers are its own."""


def lives_in_memory(mounts: str, directory: str) -> bool:
    """Whether what is in a directory lives in memory, by the text of /proc/self/mountinfo (proc(5))."""
    kind, deepest = "", -1
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not source:
            continue
        point = _OCTAL.sub(lambda escaped: chr(int(escaped[1], 8)), fields[4]).rstrip("/")
        is_above = directory == point or directory.startswith(f"{point}/")
        if is_above and len(point) >= deepest:  # of several at one place, the last lies on top
            kind, deepest = source.split(" ")[0], len(point)
    return kind in IN_MEMORY


@attrs.define(eq=False)
class RecordFiles:
    """The records of the application `app` in a directory, which several agentd may share."""

    directory: Path
    app: str
    mounts: Path = Path("/proc/self/mountinfo")
    _lock: int | None = attrs.field(default=None, init=False)

    def open(self) -> None:
        """Take the records, for as long as this process lives. Raises RecordsUnusable, or RecordsTaken."""
        where = self.directory
        try:
            found = where.stat()
            mounts = self.mounts.read_text("utf-8", "replace")
        except OSError as error:
            raise RecordsUnusable(f"{where}: {error.strerror}") from error
        if not stat.S_ISDIR(found.st_mode):
            raise RecordsUnusable(f"{where} is no directory")
        if found.st_mode & stat.S_IWOTH:
            raise RecordsUnusable(f"{where} can be written to by everybody on this host")
        if not lives_in_memory(mounts, str(where.resolve())):
            raise RecordsUnusable(f"{where} does not live in memory (tmpfs): what callers say goes to no disk")
        self._take(where / f"{self._prefix}lock")

    def _take(self, path: Path) -> None:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise RecordsUnusable(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise RecordsTaken(
                f"another agentd of the application {self.app!r} is alive: it holds {path}. Its callers are left to it"
            ) from error
        except OSError as error:
            os.close(lock)
            raise RecordsUnusable(f"{path}: {error.strerror}") from error
        self._lock = lock

    def close(self) -> None:
        """Let go of the records; what is there stays for the next agentd."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _prefix(self) -> str:
        return f"{quote(self.app, safe='')[:80]}-"

    def path(self, channel: str) -> Path:
        """The file of a caller's channel. A channel's id is whatever another program chose, and no file name."""
        return self.directory / f"{self._prefix}{sha256(channel.encode('utf-8', 'replace')).hexdigest()[:40]}{_ENDING}"

    def write(self, channel: str, data: bytes) -> None:
        """Put a record in the place of the one before, as a whole or not at all. Raises OSError."""
        _write(self.path(channel), data)

    def write_words(self, name: str, data: bytes) -> None:
        """The same for a file beside the records that is nobody's call. Raises OSError."""
        _write(self.directory / f"{self._prefix}{name}{_WORDS}", data)

    def read_words(self, name: str, most: int) -> bytes:
        """Such a file; empty where it is not there, cannot be read, or is longer than `most` bytes."""
        data = _content(self.directory / f"{self._prefix}{name}{_WORDS}", most)
        return data if len(data) <= most else b""

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files; one that is not there is none. Raises OSError once all were tried."""
        failure: OSError | None = None
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure

    def read(self) -> dict[Path, bytes]:
        """Every record that is there, by its file; of one that is too long, a byte more than a record may have, and of
        one that cannot be read, nothing. Unfinished ones are removed. Raises OSError."""
        found: dict[Path, bytes] = {}
        for path in self.directory.glob(f"{_escaped(self._prefix)}*"):
            if path.suffix == _UNFINISHED:
                with suppress(OSError):
                    path.unlink()
            elif path.suffix == _ENDING and len(found) < MOST_FILES:
                found[path] = _content(path, MOST_BYTES)
        return found


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(_UNFINISHED)
    with suppress(FileNotFoundError):
        fresh.unlink()  # of an agentd that ended just then
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def _content(path: Path, most: int) -> bytes:
    """Of a file of our own user, a byte more than `most` at most; a link, a pipe or what is somebody else's is
    nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                return b""
            return file.read(most + 1)
    except OSError:
        return b""


def _escaped(text: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)
