"""The messages to systemd: ready, reloading, stopping, a status line, and that the daemon is alive.

The protocol is sd_notify(3): datagrams of newline-separated `KEY=value` lines to the Unix socket that
NOTIFY_SOCKET names. Started without systemd, everything here does nothing.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

import attrs
import structlog

_STATUS_CHARACTERS: Final = 500

_log = structlog.get_logger("agentd.notify")


@attrs.define(eq=False)
class Notifier:
    """The line to the service manager. No method blocks, none raises: telling is never worth a call.

    A datagram that cannot be sent is logged once, and again only after one got through in between.
    `watchdog_interval` is how often, in seconds, `watchdog` should be called (half of what systemd allows),
    None when this process is not watched.
    """

    watchdog_interval: float | None = None
    _address: str | None = None
    _socket: socket.socket | None = attrs.field(default=None, repr=False)
    _failing: bool = attrs.field(default=False, init=False, repr=False)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and remove them: no child may speak for us.

        Values that make no sense are logged and count as absent.
        """
        address = _socket_address(environ.pop("NOTIFY_SOCKET", None))
        interval = _watchdog_interval(environ.pop("WATCHDOG_USEC", None), environ.pop("WATCHDOG_PID", None))
        if address is None:
            return cls()
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        return cls(interval, address, sender)

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is complete; `status`, if any, is shown by `systemctl status`."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}" if status else "READY=1")

    def extend(self, seconds: float) -> None:
        """What is being done, a start or an end, goes on: it must not be cut short within `seconds`, though it takes
        longer than the unit's TimeoutStartSec or TimeoutStopSec. (EXTEND_TIMEOUT_USEC of sd_notify(3): once beyond
        them, the next word has to come within the time that the last one told.)"""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. The time stamp is what Type=notify-reload asks for."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The daemon has begun to shut down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`: one line, cut at 500 characters."""
        self._send(f"STATUS={_one_line(text)}")

    def watchdog(self) -> None:
        """Feed the watchdog, if there is one. agentd.service.watchdog decides when this is deserved."""
        if self.watchdog_interval is not None:
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket; whatever is told afterwards is dropped."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            # Not connect()ed: the name is looked up each time, so this outlives a re-executed systemd.
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            if not self._failing:
                _log.warning("systemd could not be told", message=message.split("\n")[0], error=str(error))
            self._failing = True
        else:
            self._failing = False


def _socket_address(text: str | None) -> str | None:
    if not text:
        return None
    if text.startswith("@"):
        return "\0" + text[1:]
    if text.startswith("/"):
        return text
    _log.warning("NOTIFY_SOCKET ignored: expected an absolute path or @name", got=text)
    return None


def _watchdog_interval(microseconds: str | None, pid: str | None) -> float | None:
    if not microseconds or (pid and pid != str(os.getpid())):
        return None
    if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0):
        _log.warning("WATCHDOG_USEC ignored: expected a positive number of microseconds", got=microseconds)
        return None
    return int(microseconds) / 2_000_000


def _one_line(text: str) -> str:
    """A line break in a status would be another assignment; a NUL makes systemd drop the whole message."""
    return "".join(c if c.isprintable() else " " for c in text)[:_STATUS_CHARACTERS]
