"""How loud slin is, and making it louder or softer without a click.

Levels are in dBFS: 0 is the largest 16-bit magnitude, so a sine that just fits has a peak of
0 and an RMS of -3. All functions take whole samples and raise ValueError for an odd number of bytes.
"""

import math

import numpy as np
import numpy.typing as npt

FLOOR_DBFS = -120.0
"""The level of silence: below any frame that has a sound in it, and still a number that logs can hold."""


_SLIN = np.dtype("<i2")
_FULL_SCALE_POWER = 32768.0**2
_looked_at: tuple[bytes, float] = (b"", FLOOR_DBFS)
"""The bytes object that was asked about last, and its level."""


def rms_dbfs(pcm: bytes) -> float:
    """Root mean square level of slin in dBFS; `FLOOR_DBFS` for silence or no audio at all.

    Several ask about the same frame of a caller, one after the other (the echo guard, agentd's own ear, the session's):
    it is looked at once.
    """
    global _looked_at
    known, level = _looked_at  # one object, so that threads may ask too
    if pcm is known:
        return level
    level = _rms_dbfs(pcm)
    if type(pcm) is bytes:  # nobody can change it
        _looked_at = pcm, level
    return level


def loudest_dbfs(pcm: bytes | bytearray, frame_bytes: int) -> float:
    """The level of the loudest of the frames of slin, of `frame_bytes` each, that `pcm` is made of; as `rms_dbfs`."""
    frames = np.frombuffer(pcm, _SLIN).astype(np.float64).reshape(-1, frame_bytes // 2)
    power = float(np.einsum("ij,ij->i", frames, frames).max(initial=0.0)) / (frame_bytes // 2)
    return max(FLOOR_DBFS, 10 * math.log10(power / _FULL_SCALE_POWER)) if power else FLOOR_DBFS


def _rms_dbfs(pcm: bytes) -> float:
    if not pcm.strip(b"\0") and len(pcm) % 2 == 0:  # most frames of a call: nothing has to be reckoned
        return FLOOR_DBFS
    samples = _samples(pcm)
    return max(FLOOR_DBFS, 10 * math.log10(float(samples.dot(samples)) / samples.size / _FULL_SCALE_POWER))


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
    return np.frombuffer(pcm, _SLIN).astype(np.float64)


def _dbfs(magnitude: float) -> float:
    return max(FLOOR_DBFS, 20 * math.log10(magnitude / 32768)) if magnitude else FLOOR_DBFS
