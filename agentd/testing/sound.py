"""Sounds for a caller to make: slin, signed 16-bit little-endian mono."""

import numpy as np

RATE = 8000
"""Hz of a telephone's sound."""


def voice(seconds: float, seed: int = 1) -> bytes:
    """Slin at 8 kHz of an even level (-20 dBFS) of which no two frames are alike; another `seed`, another sound."""
    samples = np.random.default_rng(seed).uniform(-5660, 5660, round(seconds * RATE))
    return np.rint(samples).astype("<i2").tobytes()
