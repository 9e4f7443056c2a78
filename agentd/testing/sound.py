"""Sounds for a caller to make: slin, signed 16-bit little-endian mono."""

from zlib import crc32

import numpy as np

RATE = 8000
"""Hz of a telephone's sound."""
SHORTEST = 0.4
"""Seconds of a caller's sound that is surely somebody's words, and no click."""


def voice(seconds: float, seed: int = 1) -> bytes:
    """Slin at 8 kHz of an even level (-20 dBFS) of which no two frames are alike; another `seed`, another sound."""
    samples = np.random.default_rng(seed).uniform(-5660, 5660, round(seconds * RATE))
    return np.rint(samples).astype("<i2").tobytes()


def voice_saying(words: str, seconds: float = SHORTEST) -> bytes:
    """Such a voice, another one for other words: a caller who says what the agent is just saying is its echo."""
    return voice(seconds, seed=crc32(words.encode()))
