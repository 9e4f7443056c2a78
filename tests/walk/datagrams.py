"""UDP within one run, as a socket that does not block shows it, with nothing of the kernel in it."""

import errno
import os
from collections import deque
from socket import AF_INET

import attrs

LOOPBACK = "127.0.0.1"
ROOM = 250
"""Datagrams that wait for who reads; more are lost, as where the kernel's queue is full."""
FIRST_FREE = 50_000

Address = tuple[str, int]


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@attrs.define(eq=False)
class Datagrams:
    """Who is bound to which port."""

    bound: dict[int, "DatagramSocket"] = attrs.field(factory=dict)
    _next_port: int = FIRST_FREE

    def bind(self, host: str = LOOPBACK, port: int = 0) -> "DatagramSocket":
        """A socket on this port, or on a free one. Raises OSError where it is taken."""
        if not port:
            port, self._next_port = self._next_port, self._next_port + 1
        if port in self.bound:
            raise _error(errno.EADDRINUSE)
        self.bound[port] = DatagramSocket(self, (host, port))
        return self.bound[port]


@attrs.define(eq=False)
class DatagramSocket:
    """One end. Once it is connected, it takes datagrams of its peer's alone, and is told by ICMP where that peer is
    bound no more: its next call raises ConnectionRefusedError (udp(7))."""

    _all: Datagrams
    _name: Address
    family: int = AF_INET
    _peer: Address | None = None
    _inbox: deque[tuple[bytes, Address]] = attrs.field(factory=deque)
    _refused: bool = False
    _closed: bool = False

    def getsockname(self) -> Address:
        return self._name

    def getpeername(self) -> Address:
        if self._peer is None:
            raise _error(errno.ENOTCONN)
        return self._peer

    def connect(self, address: Address) -> None:
        self._check()
        self._peer = address

    def send(self, data: bytes) -> int:
        """To the peer."""
        return self.sendto(data, self.getpeername())

    def sendto(self, data: bytes, address: Address) -> int:
        self._check()
        target = self._all.bound.get(address[1])
        if target is None:
            self._refused = self._peer is not None
        elif target._peer in (None, self._name) and len(target._inbox) < ROOM:
            target._inbox.append((data, self._name))
        return len(data)

    def recvfrom(self, size: int) -> tuple[bytes, Address]:
        """The next datagram, cut to this size, and who sent it. Raises BlockingIOError where none has come."""
        self._check()
        if not self._inbox:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data, source = self._inbox.popleft()
        return data[:size], source

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            del self._all.bound[self._name[1]]

    def _check(self) -> None:
        if self._closed:
            raise _error(errno.EBADF)
        if self._refused:
            self._refused = False
            raise _error(errno.ECONNREFUSED)
