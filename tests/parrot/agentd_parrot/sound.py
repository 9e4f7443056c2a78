"""The sound of a parrot."""

import numpy as np

LOUDNESS = 6000
"""Of 32767."""
MOST_WORDS = 20


def whistle(words: str, rate: int, pitch_hz: int = 1200) -> bytes:
    """A tone for each word, 0.2 s long, and 0.1 s of silence after it: slin at `rate` Hz."""
    samples = np.arange(rate // 5)
    tone = LOUDNESS * np.hanning(len(samples)) * np.sin(2 * np.pi * pitch_hz * samples / rate)
    silence = bytes(rate // 10 * 2)
    count = min(len(words.split()), MOST_WORDS)
    return (tone.astype("<i2").tobytes() + silence) * count
