"""The networks that tell what a sound is: what they are given, what they cost, and what they were fitted to tell."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.first_sounds import (
    BANDS,
    BEFORE,
    FRAMES,
    LAYERS,
    WEIGHTS,
    FirstSounds,
    features,
    load,
    save,
)
from tests.lab import distractors

RATE = 8000
A_FEW_KB = 120_000


def tone(seconds: float, rate: int = RATE, loudness: float = 8000.0) -> bytes:
    at = np.arange(round(seconds * rate)) / rate
    return np.rint(loudness * np.sin(2 * np.pi * 440 * at)).astype("<i2").tobytes()


def silence(seconds: float, rate: int = RATE) -> bytes:
    return bytes(round(seconds * rate) * 2)


@given(st.integers(0, 12_000), st.integers(0, 2600).map(lambda half: 2 * half), st.sampled_from([8000, 16000]))
def test_whatever_is_heard_has_features_and_kinds(length: int, begun: int, rate: int) -> None:
    pcm = np.random.default_rng(length).integers(-32768, 32767, length).astype("<i2").tobytes()
    begun = min(begun, len(pcm))
    given_to_it = features(pcm, rate, begun)
    assert given_to_it.shape == (FRAMES, BANDS + 1)
    assert np.isfinite(given_to_it).all() and np.abs(given_to_it).max() <= 1.0
    kinds = JUDGE.kinds(pcm, rate, begun)
    assert kinds.noise + kinds.backchannel + kinds.turn == pytest.approx(1.0, abs=1e-4)


def test_a_sound_stands_at_the_same_place_whatever_was_before_it() -> None:
    whole = features(silence(0.16) + tone(0.3), RATE, len(silence(0.16)))
    none = features(tone(0.3), RATE, 0)
    assert np.abs(whole[BEFORE + 3 : BEFORE + 20] - none[BEFORE + 3 : BEFORE + 20]).max() < 0.01


def test_how_loud_it_is_does_not_matter() -> None:
    loud, soft = (features(silence(0.16) + tone(0.3, loudness=by), RATE, 2560) for by in (16000.0, 1600.0))
    sounding = loud[BEFORE + 3 : BEFORE + 20] > -0.5
    assert np.abs(loud - soft)[BEFORE + 3 : BEFORE + 20][sounding].max() < 0.02


def test_what_is_still_to_come_is_no_silence() -> None:
    heard = features(silence(0.16) + tone(0.2), RATE, 2560)
    assert heard[:BEFORE, BANDS].all() and not heard[-10:, BANDS].any()


def test_weights_are_the_same_once_they_are_written(tmp_path: Path) -> None:
    save(JUDGE, tmp_path / "again.npz")
    again = load(tmp_path / "again.npz")
    for network, other in zip(JUDGE.networks, again.networks, strict=True):
        for name in LAYERS:
            for one, same in zip(network.layers[name], other.layers[name], strict=True):
                assert np.allclose(one, same, atol=1e-5)


def test_all_networks_count_the_same() -> None:
    given_to_them = features(silence(0.16) + tone(0.3), RATE, 2560)[np.newaxis]
    apart = [network.judge(given_to_them) for network in JUDGE.networks]
    assert np.allclose(JUDGE.judge(given_to_them), sum(apart) / len(apart), atol=1e-6)


def test_the_weights_are_few() -> None:
    assert WEIGHTS.stat().st_size < A_FEW_KB


def test_a_judgement_costs_less_than_two_milliseconds_of_a_processor() -> None:
    pcm = silence(0.16) + tone(0.5)
    JUDGE.kinds(pcm, RATE, 2560)
    began = time.thread_time()
    for _ in range(50):
        JUDGE.kinds(pcm, RATE, 2560)
    assert (time.thread_time() - began) / 50 < 0.002


@pytest.mark.parametrize("make", [distractors.cough, distractors.throat_clearing])
def test_coughs_are_noise(make: object) -> None:
    noise = [JUDGE.kinds(silence(0.1) + make(seed)[: round(0.4 * RATE) * 2], RATE, 2624).noise for seed in range(20)]  # type: ignore[operator]
    assert np.mean(noise) > 0.8


JUDGE: FirstSounds = load()
