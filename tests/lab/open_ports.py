"""What a process and its children can be reached at: every socket on which they take connections or datagrams.

Linux tells of all sockets in /proc/net, by inode (proc_net(5)), and in /proc/PID/fd which process has which.
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import attrs
import trio

_INET = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
}
_Row = tuple[tuple[str, int] | str, socket.AddressFamily, socket.SocketKind, str]
"""Address, family, kind and inode."""
_LISTENS, _UNCONNECTED = "0A", "07"
"""States of a TCP socket that listens, and of a UDP socket that takes datagrams of anybody."""
_ACCEPTS = 1 << 16
"""The flag of a Unix socket that listens."""
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@attrs.frozen
class OpenPort:
    """A socket of the process `pid` that others can send to."""

    address: tuple[str, int] | str
    """Host and port, or the path of a Unix socket."""
    family: socket.AddressFamily
    kind: socket.SocketKind
    pid: int

    @property
    def private(self) -> bool:
        """Whether only the process's own user can get to it: it lies in a directory that is closed to others."""
        return isinstance(self.address, str) and not Path(self.address).parent.stat().st_mode & 0o077


async def connect(
    address: tuple[str, int] | str, family: socket.AddressFamily, kind: socket.SocketKind
) -> trio.SocketStream:
    """Reach an open port. Raises OSError. Of a datagram socket it is where what is sent goes to."""
    connection = trio.socket.socket(family, kind)
    try:
        await connection.connect(address)
        return trio.SocketStream(connection)
    except BaseException:
        connection.close()
        raise


def family_of(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text("ascii").split())
    return found


def descriptors(pid: int) -> list[str]:
    """What each descriptor of a process is of."""
    links = []
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                links.append(str(descriptor.readlink()))
    return links


def open_ports(pid: int) -> list[OpenPort]:
    """Every open port of a process and its descendants."""
    owners = {
        link.removeprefix("socket:[").removesuffix("]"): process
        for process in reversed(family_of(pid))
        for link in descriptors(process)
        if link.startswith("socket:[")
    }
    return [
        OpenPort(address, family, kind, owners[inode])
        for address, family, kind, inode in chain(_inet(), _unix())
        if inode in owners
    ]


def _inet() -> Iterator[_Row]:
    for table, (family, kind) in _INET.items():
        for fields in _rows(Path(f"/proc/net/{table}")):
            state, host, port = fields[3], *fields[1].split(":")
            if state == (_LISTENS if kind == socket.SOCK_STREAM else _UNCONNECTED):
                words = struct.pack(
                    f"={len(host) // 8}I", *(int(host[at : at + 8], 16) for at in range(0, len(host), 8))
                )
                shown = socket.inet_ntop(family, words)
                yield (_ANY.get(shown, shown), int(port, 16)), family, kind, fields[9]


def _unix() -> Iterator[_Row]:
    for fields in _rows(Path("/proc/net/unix")):
        if len(fields) > 7:  # one without a path can be got at by nobody
            kind = socket.SocketKind(int(fields[4], 16))
            if int(fields[3], 16) & _ACCEPTS or kind == socket.SOCK_DGRAM:
                path = fields[7]
                yield (f"\0{path[1:]}" if path.startswith("@") else path), socket.AF_UNIX, kind, fields[6]


def _rows(table: Path) -> Sequence[list[str]]:
    try:
        return [line.split() for line in table.read_text("ascii", "surrogateescape").splitlines()[1:]]
    except FileNotFoundError:  # a kernel without IPv6
        return []
