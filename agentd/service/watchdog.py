"""Whether the daemon still makes progress: systemd's watchdog is fed for as long as it does."""

from collections.abc import Mapping

import attrs
import structlog
import trio

from agentd.service.notify import Notifier

log = structlog.get_logger("agentd.watchdog")

UNWATCHED_INTERVAL = 5.0
"""Seconds between two looks where no watchdog is set."""


@attrs.define(eq=False)
class ProgressWatch:
    """Which parts of the daemon have stopped moving. Times are seconds on any one clock.

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

    Beats have to be stamped with `trio.current_time()`. The stale parts are logged when they change, also when no
    watchdog is set. systemd restarts a daemon that has not fed it for WatchdogSec.
    """
    interval = notifier.watchdog_interval or UNWATCHED_INTERVAL
    reported: list[str] = []
    while True:
        stale = watch.stale(trio.current_time())
        if stale != reported:
            if stale:
                log.error("no progress, the watchdog is not fed", stale=stale)
            else:
                log.info("progress again, the watchdog is fed", was_stale=reported)
            reported = stale
        if not stale:
            notifier.watchdog()
        await trio.sleep(interval)
