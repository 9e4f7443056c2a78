"""Which codec of a caller's line Asterisk cannot convert into ours: then neither side hears the other. Pure.

Asterisk converts a channel's codec by modules (`core show translation`); one without a module passes between telephones
as it is, and no further. It does not say so to ARI: the channel leaves the bridge as soon as it has entered it
(main/bridge_channel.c, bridges/bridge_simple.c: ast_channel_make_compatible fails), and no file can be played. What can
be asked are the formats of the channel (funcs/func_channel.c): where it has been converted, one of those that it is
read and written in is not its own.
"""

import re
from typing import Final

REMEDY: Final = (
    "load a module that translates it, or have the telephone's endpoint allow ulaw, alaw or g722 (pjsip.conf: allow); "
    "`agentd doctor` names the endpoints"
)


def unconverted(native: str, read: str, written: str, leg: str = "") -> str:
    """The codec in which a channel is stuck; empty where it is none.

    `native`, `read`, `written` are CHANNEL(audionativeformat), as in "(ulaw|alaw)", CHANNEL(audioreadformat) and
    CHANNEL(audiowriteformat), as in "slin", of a channel whose audio should be signed linear by now. What Asterisk does
    not tell proves nothing. `leg` is what the leg itself carries, as externalMedia was asked: a channel in the same
    format has nothing to be converted.
    """
    own = re.findall(r"[a-z0-9]+", native.lower())
    stuck = read.lower() if read.lower() == written.lower() else ""
    return stuck if stuck in own and stuck != leg and not stuck.startswith("slin") else ""


def cannot_convert(codec: str) -> str:
    """What is told of a call in such a codec."""
    return f"Asterisk cannot convert the codec of the caller's line ({codec}): neither side can be heard"
