"""How a provider's vendor fails: what the contracts ask a vendor's fake to do."""

from enum import StrEnum


class Fault(StrEnum):
    """A vendor's fault from now on, for clients that are connected already too.

    The HTTP statuses are those of a request, or of a WebSocket's upgrade. A fake whose protocol has neither does what
    comes nearest to it.
    """

    NONE = "none"
    REFUSED = "refused"
    """It refuses our key: status 401."""
    RATE_LIMITED = "rate-limited"
    """It has too much to do for us: status 429."""
    UNAVAILABLE = "unavailable"
    """It is down for a while: status 503."""
    SLOW = "slow"
    """It is well, and everything that it says comes late: by less than any deadline."""
    MUTE = "mute"
    """It takes everything, says nothing any more and answers no new connection; the connections stay open."""
    CLOSE = "close"
    """It ends the connections that there are, in the way of the protocol (WebSocket: code 1011), and each new one."""
    CUT = "cut"
    """Its connection ends in the middle of a message."""
    GARBAGE = "garbage"
    """It says what makes no sense. Over a WebSocket: a text that is no JSON, a message of an unknown type and random
    bytes; then it goes on."""
    OVERSIZED = "oversized"
    """It says more than anybody should keep. Over a WebSocket: one message of that size; then it goes on."""
