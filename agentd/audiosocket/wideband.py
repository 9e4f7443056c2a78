"""Whether this Asterisk's AudioSocket carries 16 kHz. Pure."""

import re

_SINCE = {20: 17, 21: 12, 22: 7, 23: 1}
"""Minor release of each branch since which AudioSocket has kinds above slin (agentd.audiosocket.frames)."""


def carries_wideband(version: str) -> bool:
    """Whether an Asterisk of this version ("22.10.1", "certified-22.8-cert1") sends slin16 over AudioSocket."""
    if (found := re.search(r"(\d+)\.(\d+)", version)) is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return minor >= _SINCE[major] if major in _SINCE else major > max(_SINCE)
