"""The directory of audio files that agentd writes and Asterisk plays.

The files are raw 8 kHz slin (`.sln`), named at random, readable by agentd's user and the directory's group (Asterisk)
and nobody else. A disk may be full, over its quota, gone read-only, not ours or hung: then no file can be written,
nothing of one is left, and `trouble` says so until one can.
"""

import errno
import os
import re
from pathlib import Path
from uuid import uuid4

import attrs
import structlog

from agentd.errors import MediaUnwritable

log = structlog.get_logger("agentd.playback")

FILE_MODE = 0o640
TRIAL = bytes(64 * 1024)
"""Four seconds of silence: what is written to try whether a disk takes files again."""


@attrs.define(eq=False)
class MediaDirectory:
    """The directory that agentd writes and Asterisk reads. `prefix` keeps several daemons apart, also where that of one
    begins with another's."""

    path: Path
    prefix: str
    trouble: str = attrs.field(default="", init=False)
    """Why the last file could not be written; empty: it could, or there was none."""

    def new_file(self) -> Path:
        return self.path / f"{self.prefix}-{uuid4().hex}.sln"

    def write(self, path: Path, pcm: bytes) -> None:
        """Write a new file that the directory's group can read. Raises MediaUnwritable, and leaves nothing then.
        Blocking."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    os.fchmod(file.fileno(), FILE_MODE)  # the umask of a shell may have taken the group's right
                    file.write(pcm)
            except OSError:
                self.remove(path)
                raise
        except OSError as error:
            self.trouble = f"cannot write to {self.path}: {error.strerror}; check [media] directory"
            raise MediaUnwritable(self.trouble, errno.errorcode.get(error.errno or 0, "other")) from error
        self.trouble = ""

    def does_not_answer(self) -> MediaUnwritable:
        """A file was not written in time: take note of it; gives what is to be raised."""
        self.trouble = f"cannot write to {self.path}: its disk does not answer"
        return MediaUnwritable(self.trouble, "hung")

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there and can be; one that cannot be is told. Blocking."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # a disk that has gone read-only says so even of a file that is not there
            log.warning("an audio file could not be removed", file=str(path), error=error.strerror)

    def takes_files(self) -> bool:
        """Whether a file can be written: it is tried out where the last one could not be. Blocking."""
        if self.trouble:
            path = self.new_file()
            try:
                self.write(path, TRIAL)
            except MediaUnwritable:
                return False
            self.remove(path)
        return True

    def sweep(self) -> int:
        """Remove what a crashed run left behind, as far as it can be; gives the number of files. Blocking."""
        own = re.compile(rf"{re.escape(self.prefix)}-[0-9a-f]{{32}}\.sln")
        leftovers = [file for file in self.path.iterdir() if own.fullmatch(file.name)] if self.path.is_dir() else []
        for file in leftovers:
            self.remove(file)
        return len(leftovers) - sum(file.exists() for file in leftovers)
