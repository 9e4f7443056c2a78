"""What the lab itself adds to every delay, measured by a call to Asterisk's Echo()."""

import trio

from .asterisk import PrivateAsterisk
from .measure import calibrate_echo
from .sip import SipCaller

ECHO_EXTENSION = "600"
ECHO_DIALPLAN = f"exten => {ECHO_EXTENSION},1,Answer()\n same => n,Echo()\n"
"""For PrivateAsterisk's extra_dialplan."""


async def echo_offset(pbx: PrivateAsterisk, pcm: bytes) -> float:
    """Seconds by which a caller hears `pcm` (8 kHz slin) late who says it to Echo()."""
    async with SipCaller().call(pbx.sip_uri(ECHO_EXTENSION)) as call:
        await trio.sleep(0.5)
        await call.play(pcm)
        await trio.sleep(0.5)
        await call.hangup()
    return calibrate_echo(call.said, call.heard).at
