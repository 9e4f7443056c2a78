"""Files laid down on a host by root without ever overwriting what an administrator changed.

Everything is written to a new file and renamed into place: `/etc/asterisk` often belongs to the user
asterisk, so nothing found there may be followed, opened for writing, or given away with chown.
"""

import contextlib
import errno
import grp
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, TextIO

import attrs

from agentd.errors import AgentdError

CREDENTIALS: Final = PurePosixPath("/etc/agentd/credentials")
MANIFEST: Final = PurePosixPath("/etc/agentd/installed.sha256")
# Text that an Asterisk configuration takes literally: no blank, no `;` (comment), no `\` (escape).
_PASSWORD: Final = re.compile(r"[!-:<-\[\]-~]+")


class InstallError(AgentdError):
    """agentd could not be installed; the message says what stood in the way and what to do."""


@attrs.frozen
class HostFile:
    """One file to lay down.

    `theirs`: belongs to the administrator from the first moment on. `places`: what tells of places on this host, such
    as the program that a unit starts; a file that differs in nothing else was not edited.
    """

    path: PurePosixPath
    text: str = attrs.field(repr=False)
    mode: int = 0o644
    group: str = "root"
    theirs: bool = False
    places: re.Pattern[str] | None = None

    def differs_by_places(self, other: str) -> bool:
        """Whether another text is the same but for the places that it tells of."""
        return self.places is not None and self.places.sub("", other) == self.places.sub("", self.text)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@attrs.define(eq=False)
class HostTree:
    """The file system of the host below a root directory, written atomically, or only talked about."""

    root: Path
    out: TextIO
    dry_run: bool
    _generated: dict[str, str] = attrs.field(factory=dict, init=False, repr=False)

    def say(self, line: str) -> None:
        self.out.write(line + "\n")

    def did(self, verb: str, path: PurePosixPath, more: str = "") -> None:
        if self.dry_run and verb not in ("unchanged", "kept"):
            verb = f"would be {verb}"
        self.say(f"{verb:<17} {path}{more}")

    def at(self, path: PurePosixPath | str) -> Path:
        return self.root / PurePosixPath(path).relative_to("/")

    def exists(self, path: PurePosixPath | str) -> bool:
        return self.at(path).exists()

    def text(self, path: PurePosixPath) -> str:
        """The text of a regular file, "" if there is none; bytes that are not UTF-8 are replaced."""
        here = self.at(path)
        return here.read_text(encoding="utf-8", errors="replace") if here.is_file() else ""

    def listing(self, directory: PurePosixPath, pattern: str) -> list[PurePosixPath]:
        """The files in a directory whose names match, in order; none where there is no such directory."""
        return sorted(directory / each.name for each in self.at(directory).glob(pattern) if each.is_file())

    def directory(self, path: PurePosixPath, mode: int) -> None:
        if self.exists(path):
            return
        if not self.dry_run:
            self.at(path).mkdir(parents=True, mode=mode)
            self.at(path).chmod(mode)
        self.did("created", path)

    def manifest(self) -> dict[PurePosixPath, str]:
        """Path to digest of what `agentd init` laid down, or offered as .new, the last time."""
        lines = (line.split("  ", 1) for line in self.text(MANIFEST).splitlines())
        return {PurePosixPath(path): digest for digest, path in lines}

    def credential(self, name: str) -> str:
        """The secret in a credential file; generated, 192 bits of it, if there is none."""
        if name in self._generated:
            return self._generated[name]
        path = CREDENTIALS / name
        password = self.text(path).strip()
        verb = "unchanged"
        if not password:
            password = secrets.token_hex(24)
            verb = "created"
        elif not _PASSWORD.fullmatch(password):
            raise InstallError(
                f"{path}: expected printable ASCII without blank, ';' or '\\', which Asterisk's "
                "configuration cannot hold; got something else. Change it, or delete it to have one made"
            )
        file = HostFile(path, password, 0o600)
        if verb == "created" or stat.S_IMODE(self.at(path).stat().st_mode) != file.mode:
            self.replace(file)
        self.did(verb, path)
        self._generated[name] = password
        return password

    def remember(self, laid: Mapping[PurePosixPath, str]) -> None:
        """Write the manifest that the next `manifest` reads."""
        text = "".join(f"{digest}  {path}\n" for path, digest in sorted(laid.items()))
        if text != self.text(MANIFEST):
            self.replace(HostFile(MANIFEST, text, 0o600))

    def lay(self, file: HostFile, offered: Mapping[PurePosixPath, str]) -> str:
        """Create, update or keep one file; returns the digest to remember for it."""
        here = self.at(file.path)
        if not here.is_symlink() and not here.exists():
            self.replace(file)
            self.did("created", file.path)
            return file.digest
        # A link is somebody's arrangement, and may lead anywhere: it counts as edited and is not followed.
        plain = here.is_file() and not here.is_symlink()
        current = hashlib.sha256(here.read_bytes()).hexdigest() if plain else None
        if current == file.digest:
            if file.theirs or self._as_wanted(file):
                self.did("unchanged", file.path)
            else:
                self.replace(file)
                self.did("repaired", file.path, f" (mode {file.mode:04o}, group {file.group})")
        elif (
            current is not None
            and not file.theirs
            and (current == offered.get(file.path) or file.differs_by_places(self.text(file.path)))
        ):
            self.replace(file)
            self.did("updated", file.path)
        elif offered.get(file.path) == file.digest:
            self.did("kept", file.path, " (yours)")
        else:
            new = file.path.with_name(file.path.name + ".new")
            self.replace(attrs.evolve(file, path=new))
            self.did("kept", file.path, f" (yours); this version's is {new}")
        return file.digest

    def amend(self, path: PurePosixPath, change: Callable[[str], str]) -> bool:
        """Change what somebody else's regular file says; its owner, mode and other bytes stay as they are.

        A link is not followed: returns whether the file could be changed.
        """
        try:
            descriptor = os.open(self.at(path), os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno == errno.ELOOP:
                return False
            raise
        # Latin-1 has a character for each byte: whatever the encoding is, it comes out as it went in.
        with os.fdopen(descriptor, encoding="latin-1", newline="") as stream:
            status, text = os.fstat(descriptor), stream.read()
        if not self.dry_run:
            content = change(text).encode("latin-1")
            self._put(path, content, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
        self.did("updated", path)
        return True

    def replace(self, file: HostFile) -> None:
        """Put the file in place whole, with its mode and, for root, its group; nothing is followed."""
        if not self.dry_run:
            self._put(file.path, file.text.encode(), 0, self._gid(file.group), file.mode)

    def _put(self, path: PurePosixPath, content: bytes, user: int, group: int, mode: int) -> None:
        here = self.at(path)
        here.parent.mkdir(parents=True, exist_ok=True)
        fresh = here.with_name(f".{here.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                if os.geteuid() == 0:
                    os.fchown(descriptor, user, group)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            fresh.replace(here)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            raise

    def _as_wanted(self, file: HostFile) -> bool:
        status = self.at(file.path).lstat()
        mode = stat.S_IMODE(status.st_mode)
        # `fwconsole chown` gives all of /etc/asterisk to asterisk, who owns the directory anyway.
        owners = {0, self.at(file.path).parent.stat().st_uid}
        owned = os.geteuid() != 0 or (status.st_uid in owners and status.st_gid == self._gid(file.group))
        return owned and mode & file.mode == file.mode and mode & 0o007 == file.mode & 0o007

    def _gid(self, name: str) -> int:
        """The group's number on the host below the root; root's own where there is no such group."""
        if self.root.resolve() == Path("/"):
            with contextlib.suppress(KeyError):
                return grp.getgrnam(name).gr_gid
            return 0
        for line in self.text(PurePosixPath("/etc/group")).splitlines():
            fields = line.split(":")
            if fields[0] == name and len(fields) == 4:
                return int(fields[2])
        return 0
