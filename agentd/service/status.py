"""What systemd is told while the daemon runs: one line that is true now, and to be patient with what takes long."""

import time
from collections.abc import Callable

import trio

from agentd import deadlines
from agentd.service.notify import Notifier
from agentd.service.report import HealthReport, Phase, status_line

LOOK_EVERY = 1.0
"""Seconds between two looks at how things stand."""
EXTEND_EVERY, EXTENSION = deadlines.EXTEND_EVERY.seconds, deadlines.EXTENSION.seconds
"""Seconds between two words that it takes longer, and how much longer each of them asks for."""
LONGEST_START = deadlines.LONGEST_START.seconds


async def tell_status(notifier: Notifier, report: Callable[[], HealthReport]) -> None:
    """Tell how things stand whenever that has changed, and ask for time while the daemon starts or drains, whatever
    TimeoutStartSec and TimeoutStopSec say: both end by deadlines of their own. Runs until cancelled.
    """
    began = trio.current_time()
    told, ari_down_since, extended_at = "", "", began - EXTEND_EVERY
    while True:
        now, standing = trio.current_time(), report()
        if standing.ari_connected:
            ari_down_since = ""
        elif standing.phase is not Phase.STARTING:
            ari_down_since = ari_down_since or time.strftime("%Y-%m-%d %H:%M:%S")
        if (line := status_line(standing, ari_down_since)) != told:
            notifier.status(line)
            told = line
        patient = standing.phase is Phase.DRAINING or (standing.phase is Phase.STARTING and now - began < LONGEST_START)
        if patient and now - extended_at >= EXTEND_EVERY:
            notifier.extend(EXTENSION)
            extended_at = now
        await trio.sleep(LOOK_EVERY)
