"""Whisper's log-mel features, against a plain computation of all 8 seconds in double precision."""

import math

import numpy as np
import pytest

from agentd.errors import ProviderUnavailable
from agentd_providers.local import smart_turn
from agentd_providers.local.smart_turn import SAMPLES, features


def mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def hertz(mels: float) -> float:
    return mels * 200 / 3 if mels < 15 else 1000 * math.exp((mels - 15) * math.log(6.4) / 27)


def plainly(heard: np.ndarray) -> np.ndarray:
    signal = np.zeros(SAMPLES)
    signal[SAMPLES - len(heard[-SAMPLES:]) :] = heard[-SAMPLES:] / 32768
    signal = (signal - signal.mean()) / math.sqrt(signal.var() + 1e-7)
    padded = np.concatenate((signal[200:0:-1], signal, signal[-2:-202:-1]))
    window = [math.sin(math.pi * n / 400) ** 2 for n in range(400)]
    power = np.array([np.abs(np.fft.rfft(padded[at : at + 400] * window)) ** 2 for at in range(0, SAMPLES, 160)])
    corners = [hertz(mel(8000) * n / 81) for n in range(82)]
    filters = np.zeros((80, 201))
    for band, (low, centre, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        for column in range(201):
            slopes = ((40 * column - low) / (centre - low), (high - 40 * column) / (high - centre))
            filters[band, column] = max(0.0, min(slopes)) * 2 / (high - low)
    log = np.log10(np.maximum(filters @ power.T, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


@pytest.mark.parametrize("length", [1, 159, 3200, 48_077, SAMPLES - 1, SAMPLES, SAMPLES + 5000])
def test_the_features_are_those_of_all_eight_seconds(length):
    chance = np.random.default_rng(length)
    loudness = np.linspace(10, 4000, length)
    heard = np.rint(chance.normal(40, 1, length) + chance.normal(0, 1, length) * loudness).astype("<i2")
    found = features(heard)
    assert found.shape == (80, 800)
    assert found.dtype == np.float32
    assert np.abs(found - plainly(heard)).max() < 1e-4


def test_silence_has_features_too():
    assert np.isfinite(features(np.zeros(1600, dtype="<i2"))).all()
    assert np.isfinite(features(np.zeros(0, dtype="<i2"))).all()


def test_a_model_that_is_not_there_is_named_with_the_command_that_fetches_it(tmp_path):
    missing = str(tmp_path / "smart-turn.onnx")
    with pytest.raises(ProviderUnavailable, match=r"smart-turn\.onnx; agentd models fetch smart-turn-v3\.2"):
        smart_turn.load(missing)
