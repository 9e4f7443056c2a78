"""A TCP connection that is read and written without waiting: for who looks at it every few milliseconds anyway."""

import os
from typing import Protocol

import attrs
import trio


class Wire(Protocol):
    """What an AudioSocket connection's bytes go through. All of it raises trio.BrokenResourceError where the connection
    is broken, or closed on this side."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Wait for bytes; none is the end. Cancelling it loses nothing."""
        ...

    def read(self, max_bytes: int) -> bytes | None:
        """What has come, `max_bytes` at the most: None where nothing has, no bytes where nothing will."""
        ...

    def write(self, data: bytes) -> int:
        """Send as many of the bytes as the kernel takes at once; tells how many these are."""
        ...


@attrs.define(eq=False)
class SocketWire:
    """A stream of Trio's. Trio keeps its sockets from blocking, whoever uses them, and offers no call that does not
    wait: so the descriptor is used itself. It is asked for each time, for the number of one that is closed may be
    another connection's by then."""

    stream: trio.SocketStream

    async def receive_some(self, max_bytes: int) -> bytes:
        """See Wire.receive_some."""
        return bytes(await self.stream.receive_some(max_bytes))

    def read(self, max_bytes: int) -> bytes | None:
        """See Wire.read."""
        try:
            return os.read(self.stream.socket.fileno(), max_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(f"it cannot be read: {error}") from error

    def write(self, data: bytes) -> int:
        """See Wire.write."""
        try:
            return os.write(self.stream.socket.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"it cannot be written to: {error}") from error
