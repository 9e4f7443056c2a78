"""Ports for servers that run side by side on one machine, in this process and in others."""

import contextlib
import random
import socket
from collections.abc import Iterator

# Below Linux's ephemeral range (32768 up), so that no outgoing connection takes one in between.
LOWEST, HIGHEST = 20000, 32000
ATTEMPTS = 200


class PortsTaken(Exception):
    """No free ports were found between LOWEST and HIGHEST."""


class PortClaims:
    """Ports that no other lab on this machine picks, until `release()`.

    A server binds its port later than it is chosen. Until then, and as long as the lab runs, the same number
    is held in the *other* protocol (a TCP socket for a UDP port and the other way round): whoever
    looks for a port tests both.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def udp(self, count: int = 1) -> int:
        """The first of `count` free UDP ports in a row, even as RTP wants it (RFC 3550, section 11)."""
        return self._claim(count, socket.SOCK_STREAM)

    def tcp(self) -> int:
        """A free TCP port."""
        return self._claim(1, socket.SOCK_DGRAM)

    def _claim(self, count: int, held: socket.SocketKind) -> int:
        for _ in range(ATTEMPTS):
            first = random.randrange(LOWEST, HIGHEST - count, 2)
            with contextlib.ExitStack() as trial:
                try:
                    probes = list(_bind_all(first, count, trial))
                except OSError:
                    continue
                # The probes of the ports themselves are let go; their twins stay.
                self._held += [probe.dup() for probe in probes if probe.type == held]
            return first
        raise PortsTaken(f"no {count} free ports in a row between {LOWEST} and {HIGHEST} in {ATTEMPTS} attempts")

    def release(self) -> None:
        """Let go of all claims."""
        for claim in self._held:
            claim.close()
        self._held.clear()


def _bind_all(first: int, count: int, trial: contextlib.ExitStack) -> Iterator[socket.socket]:
    for port in range(first, first + count):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            probe = trial.enter_context(socket.socket(socket.AF_INET, kind))
            probe.bind(("127.0.0.1", port))
            yield probe
