"""Where lines go that the journal does not take: standard error, which is never waited for.

Whoever reads it may be gone (EPIPE), stuck (a full pipe: whoever writes sleeps, and all calls with it) or out of space
(ENOSPC). Then lines wait here, and those that find no room are lost and counted.

Standard error is shared with whoever started agentd and with the engines' processes, so that it cannot be made
non-blocking: the flag belongs to the open file, not to the descriptor. A pipe or a terminal is opened once more
(/proc/self/fd, proc(5)); a socket is asked not to wait for each send.
"""

import errno
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

import attrs
from prometheus_client import Counter

ROOM = 1 << 20
"""Bytes of lines that wait while standard error takes none."""
LONGEST_LINE = ROOM // 4
LAST_WORDS = 1.0
"""Seconds that waiting lines have at the end of the process."""
LATER = frozenset({errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.EINTR, errno.ENOBUFS, errno.ENOMEM})
"""Errors after which what waits may be written later. After any other one it is lost."""

Put = Callable[[bytes], int]
"""Writes some of the bytes without waiting, and tells how many. Raises OSError."""


@attrs.define(eq=False)
class LogSink:
    """Takes lines from any thread; never waits, never raises.

    `works_again(n)` is called, with the first line that is written after lines were lost, to tell how many were.
    """

    put: Put
    works_again: Callable[[int], None]
    lost: int = attrs.field(default=0, init=False)
    _counter: Counter | None = attrs.field(default=None, init=False)
    _waiting: deque[bytes] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _untold: int = attrs.field(default=0, init=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False)
    """Held for no longer than it takes to write without waiting. Telling of a loss writes a line within a line."""

    def write(self, line: str) -> None:
        """Take one line."""
        data = _cut(f"{line}\n".encode(errors="backslashreplace"))
        with self._lock:
            wrote = self._bytes + len(data) > ROOM and self._flush()
            if self._bytes + len(data) > ROOM:
                self._lose(1)
            else:
                self._waiting.append(data)
                self._bytes += len(data)
                wrote = self._flush()
            if wrote:
                self._tell()

    def catch_up(self) -> None:
        """Try what waits, for the log is well elsewhere: the journal takes lines again."""
        with self._lock:
            if self._waiting or self._untold:
                self._flush()
                if not self._waiting:
                    self._tell()

    def finish(self, seconds: float = LAST_WORDS) -> None:
        """At the end of the process: what waits is tried for that long; it blocks."""
        until = time.monotonic() + seconds
        while True:
            with self._lock:
                self._flush()
                if not self._waiting or time.monotonic() >= until:
                    return
            time.sleep(0.02)

    def count_in(self, counter: Counter) -> None:
        """Have lost lines counted there, those that are lost already too."""
        with self._lock:
            self._counter = counter
            counter.inc(self.lost)

    def _flush(self) -> bool:
        """Write what waits; true where all of it, and something, was written."""
        wrote = False
        while self._waiting:
            try:
                done = self.put(self._waiting[0])
            except (OSError, ValueError) as error:  # ValueError: a stream that is closed
                if getattr(error, "errno", None) not in LATER:
                    self._lose(len(self._waiting))
                    self._waiting.clear()
                    self._bytes = 0
                return False
            wrote = True
            self._bytes -= done
            rest = self._waiting.popleft()[done:]
            if rest:
                self._waiting.appendleft(rest)
        return wrote

    def _tell(self) -> None:
        if self._untold:
            untold, self._untold = self._untold, 0
            self.works_again(untold)

    def _lose(self, lines: int) -> None:
        self.lost += lines
        self._untold += lines
        if self._counter is not None:
            self._counter.inc(lines)


def _cut(data: bytes) -> bytes:
    if len(data) <= LONGEST_LINE:
        return data
    return data[:LONGEST_LINE] + f" [... {len(data) - LONGEST_LINE} bytes more]\n".encode()


def opened(stream: TextIO | None) -> Put:
    """How to write to a stream without waiting for its reader."""
    try:
        number = stream.fileno() if stream is not None else -1
        mode = os.fstat(number).st_mode
    except (OSError, ValueError):  # no file of the system's
        return lambda data: _into_stream(stream, data)
    if stat.S_ISSOCK(mode):
        return lambda data: _into_socket(number, data)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            own = os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:  # another user's, or no /proc: then it is asked each time whether there is room
            return lambda data: _where_there_is_room(number, data)
        return lambda data: os.write(own, data)
    return lambda data: os.write(number, data)


def _into_stream(stream: TextIO | None, data: bytes) -> int:
    if stream is None:  # a process that was started without a standard error
        raise OSError(errno.EBADF, "there is no standard error")
    stream.write(data.decode(errors="replace"))
    stream.flush()
    return len(data)


def _into_socket(number: int, data: bytes) -> int:
    peer = socket.socket(fileno=number)
    try:
        return peer.send(data, socket.MSG_DONTWAIT)
    finally:
        peer.detach()  # it is not ours to close


def _where_there_is_room(number: int, data: bytes) -> int:
    """A pipe that can be written to takes so many bytes at once (pipe(7))."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError(errno.EAGAIN, "its reader does not read")
    return os.write(number, data[: select.PIPE_BUF])
