"""What systemd is told: ready, reloading, stopping, a status line, and that the daemon still makes progress.

The protocol is sd_notify(3): datagrams of newline-separated `KEY=value` lines to the Unix socket that
NOTIFY_SOCKET names. Started without systemd, everything here does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

import attrs
import structlog
import trio

_STATUS_CHARACTERS: Final = 500
_UNWATCHED_INTERVAL: Final = 5.0

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

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is complete; `status` is shown by `systemctl status`."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}")

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
        """Feed the watchdog, if there is one. `feed_watchdog` decides when this is deserved."""
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
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._failing:
                _log.warning("systemd could not be told", message=message.split("\n")[0], error=str(error))
            self._failing = True
        else:
            self._failing = False


@attrs.define(eq=False)
class ProgressWatch:
    """Pure: which parts of the daemon have stopped moving. Times are seconds on any one clock.

    `limits` says for each name how old its last beat may get, in seconds. Every name is watched from
    `started` on; one that has nothing to do is excused with `rest` until its next beat.
    """

    limits: Mapping[str, float]
    started: float
    _beats: dict[str, float | None] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._beats = dict.fromkeys(self.limits, self.started)

    def beat(self, name: str, now: float) -> None:
        """`name` made progress at `now`. Raises KeyError for a name that has no limit."""
        self._known(name)
        self._beats[name] = now

    def rest(self, name: str) -> None:
        """`name` rightly stands still (no call: no line clock). Raises KeyError if it has no limit."""
        self._known(name)
        self._beats[name] = None

    def stale(self, now: float) -> list[str]:
        """The names whose last beat is older than their limit, in the order of `limits`."""
        return [
            name
            for name, limit in self.limits.items()
            if (last := self._beats[name]) is not None and now - last > limit
        ]

    def _known(self, name: str) -> None:
        if name not in self.limits:
            raise KeyError(f"{name!r} is not watched; expected one of {', '.join(self.limits)}")


async def feed_watchdog(notifier: Notifier, watch: ProgressWatch) -> None:
    """Feed systemd's watchdog for as long as nothing in `watch` is stale. Runs until cancelled.

    Beats have to be stamped with `trio.current_time()`. What is stale is logged when it changes, also when no
    watchdog is set; systemd restarts the daemon when it was not fed for WatchdogSec.
    """
    interval = notifier.watchdog_interval or _UNWATCHED_INTERVAL
    reported: list[str] = []
    while True:
        stale = watch.stale(trio.current_time())
        if stale != reported:
            if stale:
                _log.error("no progress, the watchdog is not fed", stale=stale)
            else:
                _log.info("progress again, the watchdog is fed", was_stale=reported)
            reported = stale
        if not stale:
            notifier.watchdog()
        await trio.sleep(interval)


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
