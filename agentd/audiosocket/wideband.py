"""Whether a call can carry 16 kHz: what the telephone sends, and what this Asterisk's AudioSocket does. Pure."""

import re

NARROW, WIDE = 8000, 16000
WIDEBAND_FORMATS = ("g722", "slin16", "slin24", "slin32", "slin44", "slin48", "slin96", "opus", "siren7", "siren14",
                    "speex16", "speex32", "silk16", "silk24")  # fmt: skip
"""Asterisk's names (main/codec_builtin.c) of what holds more than the telephone band."""
_SINCE = {20: 17, 21: 12, 22: 7, 23: 1}
"""Minor release of each branch since which AudioSocket has kinds above slin (agentd.audiosocket.frames)."""


def carries_wideband(version: str) -> bool:
    """Whether an Asterisk of this version ("22.10.1", "certified-22.8-cert1") sends slin16 over AudioSocket."""
    if (found := re.search(r"(\d+)\.(\d+)", version)) is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return minor >= _SINCE[major] if major in _SINCE else major > max(_SINCE)


def is_wideband(native_format: str) -> bool:
    """Whether CHANNEL(audionativeformat), as in "(g722)" or "(ulaw|alaw)", names a wideband codec first."""
    first = re.split(r"[^a-z0-9]+", native_format.lower().strip("() "))[0]
    return first in WIDEBAND_FORMATS
