"""Sounds for a caller to make: slin, signed 16-bit little-endian mono."""

from zlib import crc32

import numpy as np

RATE = 8000
"""Hz of a telephone's sound."""
SHORTEST = 0.4
"""Seconds of a caller's sound that is surely somebody's words, and no click."""


def voice(seconds: float, seed: int = 1, rate: int = RATE) -> bytes:
    """Slin at `rate` Hz of an even level (-20 dBFS) of which no two frames are alike; another `seed`, another sound."""
    samples = np.random.default_rng(seed).uniform(-5660, 5660, round(seconds * rate))
    return np.rint(samples).astype("<i2").tobytes()


def voice_saying(words: str, seconds: float = SHORTEST, rate: int = RATE) -> bytes:
    """Such a voice, another one for other words: a caller who says what the agent is just saying is its echo."""
    return voice(seconds, crc32(words.encode()), rate)


def silence(seconds: float, rate: int = RATE) -> bytes:
    """Slin at `rate` Hz of nobody."""
    return bytes(2 * round(seconds * rate))
