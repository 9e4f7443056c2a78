"""The directory of audio files that agentd writes and Asterisk plays.

The files are raw 8 kHz slin (`.sln`), named at random, readable by agentd's user and the directory's group (Asterisk)
and nobody else.
"""

import os
from pathlib import Path
from uuid import uuid4

import attrs

from agentd.errors import PlaybackError

FILE_MODE = 0o640


@attrs.frozen
class MediaDirectory:
    """The directory that agentd writes and Asterisk reads. `prefix` keeps several daemons apart."""

    path: Path
    prefix: str

    def new_file(self) -> Path:
        return self.path / f"{self.prefix}-{uuid4().hex}.sln"

    def write(self, path: Path, pcm: bytes) -> None:
        """Write a new file that the directory's group can read. Raises PlaybackError. Blocking."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), FILE_MODE)  # the umask of a shell may have taken the group's right
                file.write(pcm)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise PlaybackError(f"cannot write {path}: {error.strerror}; check [media] directory") from error

    def sweep(self) -> int:
        """Remove what a crashed run left behind; gives the number of files. Blocking. Raises OSError."""
        leftovers = list(self.path.glob(f"{self.prefix}-*.sln"))
        for file in leftovers:
            file.unlink(missing_ok=True)
        return len(leftovers)
