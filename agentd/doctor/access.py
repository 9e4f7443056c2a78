"""The rights of other users to a file, told from its permission bits. Blocking."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

SERVICE_USER: Final = "agentd"
"""The unit's User=; its supplementary group is ASTERISK_GROUP (systemd/agentd.service)."""
ASTERISK_GROUP: Final = "asterisk"
READ, WRITE, ENTER = 4, 2, 1


@attrs.frozen
class Account:
    """A user of this host with all its groups; `primary_gid` is the one that its new files get."""

    name: str
    uid: int
    primary_gid: int
    gids: frozenset[int]

    def may(self, path: Path, wanted: int) -> bool:
        """Whether the bits of `path` itself grant `wanted` (READ, WRITE, ENTER added up). Raises OSError.

        Access lists are not looked at.
        """
        if self.uid == 0:
            return True
        status = path.stat()
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid in self.gids:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & wanted == wanted

    def obstacle(self, path: Path, wanted: int) -> str | None:
        """The first of the directories above `path`, or `path`, that stands in the way; None if none does.

        Raises OSError.
        """
        for above in reversed(path.parents):
            if not self.may(above, ENTER):
                return f"{self.name} cannot enter {described(above)}"
        return None if self.may(path, wanted) else f"{self.name} cannot use {described(path)}"


def described(path: Path) -> str:
    """A path with its mode and owners, as `ls -l` shows them. Raises OSError."""
    status = path.stat()
    return f"{path} ({stat.filemode(status.st_mode)} {_user(status.st_uid)}:{_group(status.st_gid)})"


def account(name: str, *more_groups: str) -> Account | None:
    """The account of this name, with the groups that a unit adds; None if the host has none."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    gids = {*os.getgrouplist(name, entry.pw_gid), *_gids(more_groups)}
    return Account(name, entry.pw_uid, entry.pw_gid, frozenset(gids))


def daemon_account() -> Account:
    """The user that the daemon runs as: for root the service's user where there is one, else the user who asks."""
    if os.geteuid() == 0 and (service := account(SERVICE_USER, ASTERISK_GROUP)):
        return service
    groups = frozenset({os.getegid(), *os.getgroups()})
    return Account(_user(os.geteuid()), os.geteuid(), os.getegid(), groups)


def asterisk_account() -> Account | None:
    """The user that Asterisk runs as: the owner of a process of that name, else the user of that name."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == "asterisk":
                return account(_user(process.stat().st_uid))
        except OSError:  # it has ended meanwhile
            continue
    return account("asterisk")


def _gids(names: tuple[str, ...]) -> Iterator[int]:
    for name in names:
        try:
            yield grp.getgrnam(name).gr_gid
        except KeyError:
            continue


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
