"""A network within one run of Trio: TCP as sockets show it, with nothing of the kernel in it.

What connects and listens by `trio.open_tcp_stream` and `trio.open_tcp_listeners` does so here, once `enable` was called
in the run. Nothing is on its way anywhere that Trio does not know of, so that a clock may jump whenever all tasks wait.
"""

import errno
import os
from collections import deque
from socket import AF_INET, SO_ACCEPTCONN, SOCK_STREAM, SOL_SOCKET, AddressFamily, SocketKind
from typing import Any

import attrs
import trio

from agentd.audiosocket.wire import SocketWire

ROOM = 64 * 1024
"""Bytes that a peer may leave unread before who sends has to wait."""
LOOPBACK = "127.0.0.1"


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@attrs.define(eq=False)
class Network(trio.abc.SocketFactory):
    """The listeners by their ports."""

    listeners: dict[int, "VirtualSocket"] = attrs.field(factory=dict)
    _next_port: int = 40_000

    def enable(self) -> None:
        """Be the network of this run."""
        trio.socket.set_custom_socket_factory(self)
        SocketWire.read, SocketWire.write = _read, _write  # type: ignore[assignment, method-assign]

    def socket(self, family: Any = AF_INET, type: Any = SOCK_STREAM, proto: int = 0) -> "VirtualSocket":
        """See trio.abc.SocketFactory."""
        return VirtualSocket(self, AddressFamily(family), SocketKind(type), proto)

    def new_port(self) -> int:
        self._next_port += 1
        return self._next_port


_read_descriptor, _write_descriptor = SocketWire.read, SocketWire.write


def _read(wire: SocketWire, max_bytes: int) -> bytes | None:
    """Of a virtual socket, which has no descriptor; else as ever."""
    if not isinstance(end := wire.stream.socket, VirtualSocket):
        return _read_descriptor(wire, max_bytes)
    try:
        return end.read(max_bytes)
    except OSError as error:
        raise trio.BrokenResourceError(str(error)) from error


def _write(wire: SocketWire, data: bytes) -> int:
    if not isinstance(end := wire.stream.socket, VirtualSocket):
        return _write_descriptor(wire, data)
    try:
        return end.write(data)
    except OSError as error:
        raise trio.BrokenResourceError(str(error)) from error


class VirtualSocket(trio.socket.SocketType):
    """One end of a connection, or a listener. An end that is closed while it has something unread resets the other, as
    TCP does."""

    def __init__(self, network: Network, family: AddressFamily, kind: SocketKind, proto: int) -> None:
        super().__init__()
        self._network, self._family, self._kind, self._proto = network, family, kind, proto
        self._inbox = bytearray()
        self._peer: VirtualSocket | None = None
        self._name, self._peer_name = (LOOPBACK, 0), (LOOPBACK, 0)
        self._readers, self._writers = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._closed = self._ended = self._reset = self._shut = False
        self._waiting: deque[VirtualSocket] | None = None
        """Connections that nobody has accepted yet; None: it does not listen."""

    @property
    def family(self) -> AddressFamily:
        return self._family

    @property
    def type(self) -> SocketKind:
        return self._kind

    @property
    def proto(self) -> int:
        return self._proto

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self._shut

    def fileno(self) -> int:
        return -1 if self._closed else 1_000_000

    def getpeername(self) -> Any:
        return self._peer_name

    def getsockname(self) -> Any:
        return self._name

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        return int((level, optname) == (SOL_SOCKET, SO_ACCEPTCONN) and self._waiting is not None)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """None matters here."""

    # --- connections come about

    async def bind(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        port = address[1] or self._network.new_port()
        if port in self._network.listeners:
            raise _error(errno.EADDRINUSE)
        self._name = (LOOPBACK, port)

    def listen(self, backlog: int = 128) -> None:
        self._waiting = deque()
        self._network.listeners[self._name[1]] = self

    async def accept(self) -> Any:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            self._check_open()
            await self._readers.park()
        accepted = self._waiting.popleft()
        return accepted, accepted._peer_name

    async def connect(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        listener = self._network.listeners.get(address[1])
        if listener is None or listener._waiting is None:
            raise _error(errno.ECONNREFUSED)
        other = VirtualSocket(self._network, self._family, self._kind, self._proto)
        self._peer, other._peer = other, self
        self._name = other._peer_name = (LOOPBACK, self._network.new_port())
        self._peer_name = other._name = listener._name
        listener._waiting.append(other)
        listener._readers.unpark_all()

    # --- bytes

    async def recv(self, size: int, flags: int = 0) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        at_once = True
        while (data := self.read(size)) is None:
            at_once = False
            await self._readers.park()
        if at_once:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    def read(self, size: int) -> bytes | None:
        """What has come; None where nothing has. Raises OSError."""
        self._check_open()
        if not (self._inbox or self._ended):
            return None
        data = bytes(self._inbox[:size])
        del self._inbox[:size]
        if self._peer is not None:
            self._peer._writers.unpark_all()
        return data

    async def send(self, data: Any, flags: int = 0) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        at_once = True
        while not (sent := self.write(bytes(data))):
            at_once = False
            await self._writers.park()
        if at_once:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return sent

    def write(self, data: bytes) -> int:
        """Send what there is room for; tells how many bytes. Raises OSError."""
        self._check_open()
        peer = self._peer
        if peer is None or peer._closed:
            raise _error(errno.EPIPE)
        piece = data[: ROOM - len(peer._inbox)]
        peer._inbox += piece
        peer._readers.unpark_all()
        return len(piece)

    # --- bytes, for a peer of the test's own that waits for nothing

    @property
    def over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed or self._reset or self._peer is None or self._peer._closed

    def put(self, data: bytes) -> None:
        """Send what there is room for."""
        if not self.over and self._peer is not None:
            self._peer._inbox += data[: max(ROOM - len(self._peer._inbox), 0)]
            self._peer._readers.unpark_all()

    def take(self) -> bytes:
        """What has come so far."""
        data = bytes(self._inbox)
        self._inbox.clear()
        if self._peer is not None:
            self._peer._writers.unpark_all()
        return data

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._peer is not None and not self._peer._closed and len(self._peer._inbox) >= ROOM:
            await self._writers.park()

    def is_readable(self) -> bool:
        return bool(self._inbox or self._ended or self._reset)

    # --- and end

    def shutdown(self, how: int) -> None:
        self._check_open()
        self._shut = True
        if self._peer is not None:
            self._peer._end(reset=False)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._waiting is not None:
            self._network.listeners.pop(self._name[1], None)
            for connection in self._waiting:
                connection.close()
        if self._peer is not None:
            self._peer._end(reset=bool(self._inbox))
        self._wake()

    def _end(self, *, reset: bool) -> None:
        self._ended = True
        self._reset = self._reset or reset
        self._wake()

    def _wake(self) -> None:
        self._readers.unpark_all()
        self._writers.unpark_all()

    def _check_open(self) -> None:
        if self._closed:
            raise _error(errno.EBADF)
        if self._reset:
            raise _error(errno.ECONNRESET)
