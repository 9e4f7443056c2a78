"""Whether a caller who left the application without a hang-up that was told was taken elsewhere: asked of Asterisk.

Whoever hangs up is told of by a ChannelHangupRequest, but for the clock: where TIMEOUT(absolute) is over, the channel
only finds out by itself (Asterisk 22 main/channel.c: `ast_check_hangup`). Its StasisEnd is the same as the one of a
channel that a manager has redirected (main/pbx.c: `ast_async_goto` publishes no snapshot). What differs is what comes
after: that channel goes on, and this one ends, or runs an extension `T` where the dialplan has one.
"""

import structlog
import trio

from agentd.ari.rest import AriRest
from agentd.errors import AriError

log = structlog.get_logger("agentd.channel")

ASKED_AFTER = (0.05, 0.15, 0.5)
"""Pauses in seconds before it is asked whether there is such a channel: one that ends is there for a moment yet."""
AFTER_HANG_UP = "h"
"""The extension that Asterisk runs of a channel which has been hung up."""


async def was_taken(rest: AriRest, channel: str) -> bool:
    """Whether the channel goes on elsewhere; false where Asterisk does not tell. Raises nothing."""
    there = False
    for pause in ASKED_AFTER:
        await trio.sleep(pause)
        try:
            found = await rest.channel(channel)
        except AriError as error:
            log.info("whether a caller was taken elsewhere cannot be asked", error=str(error))
            return False
        if found is None:
            return False
        there = found.place is None or found.place.extension != AFTER_HANG_UP
    return there
