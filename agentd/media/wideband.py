"""Whether a telephone sends more than the telephone band. Pure."""

import re

NARROW, WIDE = 8000, 16000
WIDEBAND_FORMATS = ("g722", "slin16", "slin24", "slin32", "slin44", "slin48", "slin96", "opus", "siren7", "siren14",
                    "speex16", "speex32", "silk16", "silk24")  # fmt: skip
"""Asterisk's names (main/codec_builtin.c) of what holds more than the telephone band."""


def is_wideband(native_format: str) -> bool:
    """Whether CHANNEL(audionativeformat), as in "(g722)" or "(ulaw|alaw)", names a wideband codec first."""
    first = re.split(r"[^a-z0-9]+", native_format.lower().strip("() "))[0]
    return first in WIDEBAND_FORMATS
