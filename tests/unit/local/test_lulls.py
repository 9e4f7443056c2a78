"""Where a caller's sound falls low: loud and soft callers, quiet and noisy lines."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.lulls import Lulls

RATE = 8000
FRAME = RATE // 50


def noise(dbfs: float, seconds: float, seed: int = 0) -> list[bytes]:
    """Frames of even noise; of 20 ms, as the line brings them."""
    samples = np.random.default_rng(seed).normal(0, 32768 * math.pow(10, dbfs / 20), round(RATE * seconds))
    pcm = np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + 2 * FRAME] for at in range(0, len(pcm), 2 * FRAME)]


def quiet(lulls: Lulls, frames: list[bytes]) -> float:
    """The share of frames that are quiet."""
    return sum([lulls.quiet(frame) for frame in frames]) / len(frames)


lines = pytest.mark.parametrize(("speech", "line"), [(-15, -90), (-15, -60), (-40, -75), (-20, -38), (-30, -120)])


@lines
def test_speech_is_not_quiet_and_the_line_is(speech: float, line: float) -> None:
    lulls = Lulls(RATE)
    quiet(lulls, noise(line, 0.3))
    for seed in range(5):
        assert quiet(lulls, noise(speech, 0.5, seed)) == 0.0
        assert quiet(lulls, noise(line, 0.2, seed)) == 1.0


@lines
def test_a_softer_sound_of_speech_is_not_quiet(speech: float, line: float) -> None:
    lulls = Lulls(RATE)
    quiet(lulls, noise(line, 0.3))
    quiet(lulls, noise(speech, 0.5))
    assert quiet(lulls, noise(max(speech - 20, line + 10), 0.5, 1)) == 0.0


def test_who_goes_on_more_softly_is_heard_after_a_while() -> None:
    lulls = Lulls(RATE)
    quiet(lulls, noise(-80, 0.3))
    quiet(lulls, noise(-10, 0.5))
    assert quiet(lulls, noise(-45, 1.0)) == 1.0
    quiet(lulls, noise(-45, 4.0))
    assert quiet(lulls, noise(-45, 1.0)) == 0.0


@given(st.floats(-60, -5), st.integers(0, 1000))
def test_an_even_sound_with_nothing_before_it_is_not_quiet(level: float, seed: int) -> None:
    frames = noise(level, 1.0, seed)
    assert quiet(Lulls(RATE), frames[:1]) == 0.0
    assert quiet(Lulls(RATE), frames) == 0.0


def test_digital_silence_is_quiet() -> None:
    lulls = Lulls(RATE)
    assert not lulls.quiet(noise(-20, 0.02)[0])
    assert lulls.quiet(bytes(2 * FRAME))
    assert lulls.quiet(b"")
