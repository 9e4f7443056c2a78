"""Whether this Asterisk's AudioSocket carries 16 kHz. Pure."""

from agentd.asterisk_releases import WIDEBAND, has


def carries_wideband(version: str) -> bool:
    """Whether an Asterisk of this version sends slin16 over AudioSocket (agentd.audiosocket.frames)."""
    return has(version, WIDEBAND)
