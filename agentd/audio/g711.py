"""ITU-T G.711: u-law and A-law to slin and back, by tables that are computed at import.

A companded byte holds a sign, one of eight segments (each twice as wide as the one below) and one of
sixteen steps within it. Decoding gives the middle of the step, scaled to 16 bits. Encoding treats
positive and negative samples alike, as Asterisk's main/ulaw.c and main/alaw.c do.
"""

import numpy as np
import numpy.typing as npt

_ULAW_BIAS = 0x84
_ULAW_CLIP = 0x7FFF - _ULAW_BIAS
_ALAW_INVERT = 0x55


def _ulaw_values() -> npt.NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    segment = (code >> 4 & 7).astype(np.int32)
    step = (code & 15).astype(np.int32)
    magnitude = ((step << 3) + _ULAW_BIAS << segment) - _ULAW_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


def _alaw_values() -> npt.NDArray[np.int16]:
    code = np.arange(256, dtype=np.uint8) ^ _ALAW_INVERT
    segment = (code >> 4 & 7).astype(np.int32)
    # The two lowest segments are equally wide: only from the second on does a step have a leading one.
    step = ((code & 15).astype(np.int32) << 4) + 8 + np.where(segment > 0, 0x100, 0)
    magnitude = step << np.maximum(segment - 1, 0)
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


def _segment(magnitude: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """0 below 256, and one more for each doubling."""
    edges = np.array([0x100 << n for n in range(7)], dtype=np.int32)
    return np.searchsorted(edges, magnitude, side="right").astype(np.int32)


def _every_sample() -> npt.NDArray[np.int32]:
    """All 16-bit samples, in the order of their bit patterns read as unsigned."""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)


def _ulaw_codes() -> npt.NDArray[np.uint8]:
    sample = _every_sample()
    biased = np.minimum(np.abs(sample), _ULAW_CLIP) + _ULAW_BIAS
    segment = _segment(biased)
    code = segment << 4 | (biased >> segment + 3 & 15)
    inverted: npt.NDArray[np.int32] = 0xFF ^ (code | np.where(sample < 0, 0x80, 0))
    return inverted.astype(np.uint8)


def _alaw_codes() -> npt.NDArray[np.uint8]:
    sample = _every_sample()
    magnitude = np.minimum(np.abs(sample), 0x7FFF)
    segment = _segment(magnitude)
    code = segment << 4 | (magnitude >> np.maximum(segment, 1) + 3 & 15)
    inverted: npt.NDArray[np.int32] = (code | np.where(sample >= 0, 0x80, 0)) ^ _ALAW_INVERT
    return inverted.astype(np.uint8)


_ULAW_VALUES, _ALAW_VALUES = _ulaw_values(), _alaw_values()
_ULAW_CODES, _ALAW_CODES = _ulaw_codes(), _alaw_codes()


def ulaw_to_slin(ulaw: bytes) -> bytes:
    """u-law bytes to slin: two bytes for each one."""
    return _ULAW_VALUES[np.frombuffer(ulaw, np.uint8)].tobytes()


def alaw_to_slin(alaw: bytes) -> bytes:
    """A-law bytes to slin: two bytes for each one."""
    return _ALAW_VALUES[np.frombuffer(alaw, np.uint8)].tobytes()


def slin_to_ulaw(slin: bytes) -> bytes:
    """slin to u-law: one byte a sample, too loud samples saturate.

    Raises:
        ValueError: an odd number of bytes, so not whole samples.
    """
    return _ULAW_CODES[_bit_patterns(slin)].tobytes()


def slin_to_alaw(slin: bytes) -> bytes:
    """slin to A-law: one byte a sample, too loud samples saturate.

    Raises:
        ValueError: an odd number of bytes, so not whole samples.
    """
    return _ALAW_CODES[_bit_patterns(slin)].tobytes()


def _bit_patterns(slin: bytes) -> npt.NDArray[np.uint16]:
    if len(slin) % 2:
        raise ValueError(f"expected whole 16-bit slin samples, got {len(slin)} bytes: cut the audio at even lengths")
    return np.frombuffer(slin, "<u2")
