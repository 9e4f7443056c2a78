"""Who has a port that agentd was to take, as far as /proc tells us: for the message that ends the start."""

import pwd
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agentd.errors import AddressUnusable

LISTENING: Final = "0A"
"""TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""


def advice(error: OSError, proc: Path = Path("/proc")) -> str:
    """What to do about an address that cannot be had; empty where `error` is something else. Blocking, short."""
    if not isinstance(error, AddressUnusable):
        return ""
    found = "; ".join(_holders(error.port, proc))
    who = f" ({found})" if found else ""
    return (
        f"\nSee who listens there: ss -ltnp 'sport = :{error.port}'{who}. If it is another agentd, stop that one; else "
        f"give agentd another port in [{error.table}]."
    )


def listeners(table: str, port: int) -> Iterator[tuple[int, str]]:
    """The user id and the inode of each socket that listens on a port, by the text of /proc/net/tcp or tcp6. Pure."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTENING and fields[1].rpartition(":")[2] == f"{port:04X}":
            yield int(fields[7]), fields[9]


def _holders(port: int, proc: Path) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        with suppress(OSError, ValueError):
            for uid, inode in listeners((proc / "net" / name).read_text("ascii"), port):
                yield f"{_program(inode, proc) or 'a program'} of user {_user(uid)}"


def _program(inode: str, proc: Path) -> str:
    """The process that has a socket open; empty where we may not look, as at another user's."""
    for descriptor in proc.glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if descriptor.readlink() == Path(f"socket:[{inode}]"):
                process = descriptor.parent.parent
                return f"{(process / 'comm').read_text('utf-8', 'replace').strip()}, process {process.name},"
    return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
