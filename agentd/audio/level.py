"""How loud slin is, and making it louder or softer without a click.

Levels are in dBFS: 0 is the largest 16-bit magnitude, so a sine that just fits has a peak of
0 and an RMS of -3. All functions take whole samples and raise ValueError for an odd number of bytes.
"""

import math

import numpy as np
import numpy.typing as npt

FLOOR_DBFS = -120.0
"""The level of silence: below any frame that has a sound in it, and still a number that logs can hold."""


def rms_dbfs(pcm: bytes) -> float:
    """Root mean square level of slin in dBFS; `FLOOR_DBFS` for silence or no audio at all."""
    if not pcm.strip(b"\0") and len(pcm) % 2 == 0:  # most frames of a call: nothing has to be reckoned
        return FLOOR_DBFS
    samples = _samples(pcm)
    return _dbfs(math.sqrt(float(samples @ samples) / samples.size))


def peak_dbfs(pcm: bytes) -> float:
    """Level in dBFS of the largest sample; `FLOOR_DBFS` for silence or no audio at all."""
    samples = _samples(pcm)
    return _dbfs(float(np.max(np.abs(samples)))) if samples.size else FLOOR_DBFS


def gain(decibels: float) -> float:
    """The factor on samples for a change of level: `gain(-6.0)` is about one half, `gain(-math.inf)` is 0."""
    return math.pow(10, decibels / 20)


def ramp(pcm: bytes, start: float, end: float) -> bytes:
    """slin multiplied by a factor that moves evenly from `start` to `end`; too loud samples saturate.

    The last sample has `end` exactly: a ramp over one 20 ms frame, followed by frames with a constant factor
    (`start == end`), has no step anywhere.
    """
    samples = _samples(pcm)
    factor = start + (end - start) * np.arange(1, samples.size + 1) / max(1, samples.size)
    return np.clip(np.rint(samples * factor), -32768, 32767).astype("<i2").tobytes()


def _samples(pcm: bytes) -> npt.NDArray[np.float64]:
    if len(pcm) % 2:
        raise ValueError(f"expected whole 16-bit slin samples, got {len(pcm)} bytes: cut the audio at even lengths")
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def _dbfs(magnitude: float) -> float:
    return max(FLOOR_DBFS, 20 * math.log10(magnitude / 32768)) if magnitude else FLOOR_DBFS
