"""What a line and a room make of a voice: tempo, pitch, level, reverberation, street noise, u-law, lost packets. Pure.

All take and give samples of 8 kHz, full scale 32768, and depend on their arguments alone; where chance is in it, a seed
says which.
"""

from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, fftconvolve, lfilter, resample

from agentd.audio.g711 import slin_to_ulaw, ulaw_to_slin

RATE: Final = 8000
PACKET: Final = 160
"""Samples of 20 ms."""
LOSS: Final = 0.01
STREET_DB: Final = 15.0
"""Speech over street noise."""
REVERBERATION: Final = 0.35
"""Seconds until the room is 60 dB quieter."""
_FRAME, _HOP, _REACH = 320, 160, 64
"""Samples of a stretch that is moved, of the way between two, and how far its best place is looked for."""

Samples = npt.NDArray[np.float64]


class Line(StrEnum):
    """How the voice comes; each is a row of the reports."""

    CLEAN = "clean"
    LOSS = "1 % lost"
    STREET = "street, 15 dB"
    ROOM = "room"


def through(line: Line, samples: Samples, seed: int) -> Samples:
    """The samples as they arrive; as long as they were. u-law codes them on every line."""
    match line:
        case Line.STREET:
            samples = in_street(samples, seed)
        case Line.ROOM:
            samples = in_room(samples, seed)
    samples = coded(samples)
    return lossy(samples, seed) if line is Line.LOSS else samples


def at_level(samples: Samples, dbfs: float) -> Samples:
    """With that RMS where there is sound."""
    return samples * (32768 * 10 ** (dbfs / 20) / loudness(samples))


def loudness(samples: Samples) -> float:
    """RMS where there is sound: above a twentieth of the peak. 1.0 at least, so that silence stays silence."""
    size = np.abs(samples)
    sounding = samples[size > 0.05 * size.max(initial=0.0)]
    return max(1.0, float(np.sqrt(np.mean(sounding**2)))) if len(sounding) else 1.0


def at_tempo(samples: Samples, factor: float) -> Samples:
    """So many times as fast, at the same pitch.

    Stretches are laid over one another where they fit best (WSOLA: W. Verhelst and M. Roelands, 1993).
    """
    count = max(1, round(len(samples) / factor) // _HOP)
    padded = np.concatenate((np.zeros(_REACH), samples, np.zeros(_FRAME + _HOP + _REACH)))
    window = np.hanning(_FRAME + 1)[:-1]
    laid, weight = np.zeros((2, count * _HOP + _FRAME))
    place = _REACH
    for number in range(count):
        if number:
            place = _best(padded, round(number * _HOP * factor) + _REACH, place + _HOP)
        here = slice(number * _HOP, number * _HOP + _FRAME)
        laid[here] += window * padded[place : place + _FRAME]
        weight[here] += window
    # At both ends there is one stretch only.
    return (laid / np.maximum(weight, 1e-4))[: round(len(samples) / factor)]


def _best(samples: Samples, about: int, follows: int) -> int:
    """The place near `about` that goes on best as the stretch at `follows` would."""
    last = len(samples) - _FRAME
    first = min(max(0, about - _REACH), last)
    around = samples[first : min(about + _REACH, last) + _FRAME]
    natural = samples[min(follows, last) : min(follows, last) + _FRAME]
    likeness = np.correlate(around, natural, mode="valid")
    energy = np.convolve(around**2, np.ones(_FRAME), mode="valid")
    return first + int(np.argmax(likeness / np.sqrt(energy + 1.0)))


def at_pitch(samples: Samples, factor: float) -> Samples:
    """So many times as high, as long as before: with the formants of a smaller head."""
    if factor == 1.0:
        return samples
    slower = at_tempo(samples, 1 / factor)
    return np.asarray(resample(slower, len(samples)))


def drawn_out(samples: Samples, at: int, seconds: float, factor: float) -> Samples:
    """With the `seconds` before sample `at` lasting `factor` times as long, as who looks for a word does."""
    first = max(0, at - round(seconds * RATE))
    return np.concatenate((samples[:first], at_tempo(samples[first:at], 1 / factor), samples[at:]))


def in_room(samples: Samples, seed: int) -> Samples:
    """As a telephone on the table hears it: the voice, and half as loud what the walls send back."""
    time = np.arange(round(REVERBERATION * RATE)) / RATE
    walls = np.random.default_rng(seed).normal(0, 1, len(time)) * 10 ** (-3 * time / REVERBERATION)
    walls[: RATE // 100] = 0.0  # the nearest wall is a metre and a half away
    walls *= 0.5 / np.sqrt(np.sum(walls**2))
    walls[0] = 1.0
    return np.asarray(fftconvolve(samples, walls)[: len(samples)])


def in_street(samples: Samples, seed: int, decibels: float = STREET_DB) -> Samples:
    """Beside a street, the voice so much louder: engines that come and go over a rumble."""
    chance = np.random.default_rng(seed)
    time = np.arange(len(samples)) / RATE
    passing = np.full(len(samples), 0.5)
    for at in np.arange(chance.uniform(0, 1.5), len(samples) / RATE + 1.5, 1.5):
        passing += np.exp(-(((time - at) / chance.uniform(0.3, 0.7)) ** 2))
    engines = lfilter(*butter(2, [80, 1200], "bandpass", fs=RATE), chance.normal(0, 1, len(samples)))
    rumble = lfilter([1.0], [1.0, -0.97], chance.normal(0, 1, len(samples)))
    noise = np.asarray(engines * passing / np.std(engines) + 0.5 * rumble / np.std(rumble))
    weight = loudness(samples) * 10 ** (-decibels / 20) / np.sqrt(np.mean(noise**2))
    return np.asarray(samples + weight * noise)


def coded(samples: Samples) -> Samples:
    """As u-law carries it (G.711)."""
    return np.frombuffer(ulaw_to_slin(slin_to_ulaw(slin(samples))), "<i2").astype(np.float64)


def lossy(samples: Samples, seed: int, share: float = LOSS) -> Samples:
    """With that share of packets of 20 ms lost; the one before is heard again, fading, and then nothing."""
    count = -(-len(samples) // PACKET)
    lost = np.random.default_rng(seed).random(count) < share
    packets = np.zeros(count * PACKET)
    packets[: len(samples)] = samples
    rows = packets.reshape(count, PACKET)
    fade = np.linspace(1.0, 0.0, PACKET)
    for number in np.flatnonzero(lost):
        before = number and not lost[number - 1]
        rows[number] = rows[number - 1] * fade if before else 0.0
    return packets[: len(samples)]


def slin(samples: Samples) -> bytes:
    """16-bit little-endian, clipped."""
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
