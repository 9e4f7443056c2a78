"""Sounds of a caller's side that are no turn: coughs, throat clearing, breath, clicks and line noise. Pure.

No recording of these comes under a licence that fits, so they are made as speech is: noise or a pulse train for the
source, resonances for the mouth. Each seed is another instance. 8 kHz slin.
"""

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, lfilter

RATE = 8000
Samples = npt.NDArray[np.float64]


def cough(seed: int) -> bytes:
    """Two coughs: a burst of air of 60 ms, a rough decay of a quarter of a second, and once more, weaker."""
    chance = np.random.default_rng(seed)
    pieces = []
    for strength in (1.0, chance.uniform(0.6, 0.9)):
        burst = chance.normal(0, 1, round(0.06 * RATE)) * np.hanning(round(0.06 * RATE))
        length = round(chance.uniform(0.18, 0.28) * RATE)
        rough = _pulses(chance, length, chance.uniform(140, 220), 0.2) * 0.5 + chance.normal(0, 1, length) * 0.5
        decay = rough * np.exp(-np.arange(length) / (0.08 * RATE))
        pieces += [strength * np.concatenate([burst, decay]), np.zeros(round(chance.uniform(0.08, 0.2) * RATE))]
    mouth = _resonate(np.concatenate(pieces), [(600, 150), (1400, 250), (2600, 400)])
    return _level(mouth, -20.0)


def throat_clearing(seed: int) -> bytes:
    """Two low creaking grunts with much noise in them, half a second in all."""
    chance = np.random.default_rng(seed)
    pieces = []
    for seconds in (chance.uniform(0.16, 0.22), chance.uniform(0.24, 0.34)):
        length = round(seconds * RATE)
        source = _pulses(chance, length, chance.uniform(60, 85), 0.35) + 0.6 * chance.normal(0, 1, length)
        pieces += [source * np.hanning(length), np.zeros(round(0.06 * RATE))]
    return _level(_resonate(np.concatenate(pieces), [(450, 120), (1100, 200), (2300, 350)]), -22.0)


def breath(seed: int) -> bytes:
    """Breathing out over the microphone for 0.9 s."""
    chance = np.random.default_rng(seed)
    length = round(0.9 * RATE)
    return _level(_resonate(chance.normal(0, 1, length) * np.hanning(length), [(900, 700), (2000, 900)]), -34.0)


def clicks(seed: int) -> bytes:
    """A dozen clicks of 2 ms over 1.5 s, as of a loose plug or of keys."""
    chance = np.random.default_rng(seed)
    samples = np.zeros(round(1.5 * RATE))
    for at in chance.integers(0, len(samples) - 16, 12):
        samples[at : at + 16] += chance.normal(0, 1, 16) * np.exp(-np.arange(16) / 5)
    return _peak(samples, -6.0)


def line_noise(seed: int) -> bytes:
    """Two seconds of hiss and mains hum, coming suddenly, at -32 dBFS."""
    chance = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    hum = sum((np.sin(2 * np.pi * 50 * n * time) / n for n in (1, 2, 3, 5)), np.zeros(len(time)))
    return _level(chance.normal(0, 1, len(time)) + hum, -32.0)


def echo_of(heard: bytes, decibels: float = -25.0) -> bytes:
    """What a bad line gives back of the agent's own voice."""
    samples = np.frombuffer(heard, "<i2") * 10 ** (decibels / 20)
    return np.rint(samples).astype("<i2").tobytes()


def _pulses(chance: np.random.Generator, length: int, hertz: float, jitter: float) -> Samples:
    """Glottal pulses at an unsteady pitch."""
    train, at = np.zeros(length), 0.0
    while at < length:
        train[int(at)] = 8.0
        at += RATE / hertz * (1 + chance.uniform(-jitter, jitter))
    return train


def _resonate(source: Samples, formants: list[tuple[float, float]]) -> Samples:
    """The source through resonances of (centre, width) in Hz, side by side, and through a telephone's band."""
    voiced = np.zeros(len(source))
    for centre, width in formants:
        radius = np.exp(-np.pi * width / RATE)
        poles = [1, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2]
        resonance = lfilter([1 - radius], poles, source)
        voiced += resonance / (np.std(resonance) + 1e-9) / (1 + centre / 1000)
    numerator, denominator = butter(2, [300, 3400], "bandpass", fs=RATE)
    return np.asarray(lfilter(numerator, denominator, voiced))


def _level(samples: Samples, dbfs: float) -> bytes:
    """At that RMS, measured where there is sound."""
    sounding = samples[np.abs(samples) > 0.05 * np.max(np.abs(samples))]
    return _slin(samples * (32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(sounding**2))))


def _peak(samples: Samples, dbfs: float) -> bytes:
    return _slin(samples * (32768 * 10 ** (dbfs / 20) / np.max(np.abs(samples))))


def _slin(samples: Samples) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
