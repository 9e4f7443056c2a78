"""A benchmark's two fixed points: what the lab itself adds to a delay, and an agent that says nothing by itself."""

import trio

from .asterisk import PrivateAsterisk
from .measure import calibrate_echo
from .sip import SipCaller

ECHO_EXTENSION = "600"
ECHO_DIALPLAN = f"exten => {ECHO_EXTENSION},1,Answer()\n same => n,Echo()\n"
"""For PrivateAsterisk's extra_dialplan."""


def reticent_agent(greeting: str = "The line is open, please go ahead.", settings: str = "") -> str:
    """A table for the configuration: an agent without filler and check-in, so that what is heard was asked for.

    The greeting is of words that a model has no reason to answer with: what was spoken before is kept, and would be
    heard at once.

    `settings` are lines for its provider's tables.
    """
    return f"""[agents.default]
greeting = "{greeting}"
[agents.default.liveness]
check_in_after = 0
filler = ""
{settings}"""


async def echo_offset(pbx: PrivateAsterisk, pcm: bytes) -> float:
    """Seconds by which a caller hears `pcm` (8 kHz slin) late who says it to Echo()."""
    async with SipCaller().call(pbx.sip_uri(ECHO_EXTENSION)) as call:
        await trio.sleep(0.5)
        await call.play(pcm)
        await trio.sleep(0.5)
        await call.hangup()
    return calibrate_echo(call.said, call.heard).at
