"""What is heard where audio is missing: it goes on without a step, comes to silence, and begins again without one.
Pure."""

import numpy as np

from agentd.audio.level import ramp

FADE_IN_MS = 5


def concealment(last: bytes) -> bytes:
    """As much slin as `last`, which goes on from it without a step and comes to silence: `last` backwards, faded to
    zero."""
    return ramp(np.frombuffer(last, "<i2")[::-1].tobytes(), 1.0, 0.0)


def faded_in(pcm: bytes, rate: int) -> bytes:
    """slin at `rate` Hz that begins after silence within a sound: its first 5 ms are faded in."""
    fade = rate * FADE_IN_MS // 1000 * 2
    return ramp(pcm[:fade], 0.0, 1.0) + pcm[fade:]
