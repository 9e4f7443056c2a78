"""Levels in dBFS, and changing them without a click."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.level import FLOOR_DBFS, gain, loudest_dbfs, peak_dbfs, ramp, rms_dbfs


def slin(samples: object) -> bytes:
    return np.asarray(samples).astype("<i2").tobytes()


def sine(amplitude: float, count: int = 8000) -> bytes:
    return slin(np.rint(amplitude * np.sin(2 * np.pi * 100 * np.arange(count) / 8000)))


def test_a_sine_that_just_fits_peaks_at_zero_with_an_rms_of_minus_three() -> None:
    assert peak_dbfs(sine(32767)) == pytest.approx(0, abs=0.01)
    assert rms_dbfs(sine(32767)) == pytest.approx(-3.01, abs=0.01)


def test_half_the_amplitude_is_six_decibels_less() -> None:
    assert peak_dbfs(slin([-16384, 100])) == pytest.approx(-6.02, abs=0.01)


def test_the_most_negative_sample_is_full_scale() -> None:
    assert peak_dbfs(slin([-32768])) == rms_dbfs(slin([-32768])) == 0.0


@pytest.mark.parametrize("pcm", [b"", bytes(320)])
def test_silence_and_no_audio_measure_the_floor(pcm: bytes) -> None:
    assert rms_dbfs(pcm) == peak_dbfs(pcm) == FLOOR_DBFS


def test_one_click_in_a_frame_is_above_the_floor() -> None:
    assert FLOOR_DBFS < rms_dbfs(slin([1] + [0] * 159)) < -100


def test_a_frame_is_looked_at_once_and_no_other_is_taken_for_it() -> None:
    one, other = sine(1000, 160), sine(2000, 160)
    assert [rms_dbfs(pcm) for pcm in (one, one, other, one)] == [
        rms_dbfs(bytes(bytearray(pcm))) for pcm in (one, one, other, one)
    ]
    changing = bytearray(one)
    before = rms_dbfs(changing)  # type: ignore[arg-type]
    changing[:] = other
    assert rms_dbfs(changing) != before  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 30000), min_size=1, max_size=10))
def test_the_loudest_of_several_frames_is_as_loud_as_alone(amplitudes: list[int]) -> None:
    frames = [sine(amplitude, 160) for amplitude in amplitudes]
    assert loudest_dbfs(b"".join(frames), 320) == pytest.approx(max(map(rms_dbfs, frames)))


def test_decibels_become_a_factor() -> None:
    assert gain(0) == 1
    assert gain(-20) == pytest.approx(0.1)
    assert gain(-math.inf) == 0


def test_a_ramp_down_then_a_constant_factor_has_no_step() -> None:
    """A constant shows every step of the factor: none is larger than an even ramp's."""
    frame = slin([20000] * 160)
    heard = np.frombuffer(frame + ramp(frame, 1, 0.1) + ramp(frame, 0.1, 0.1) + ramp(frame, 0.1, 1), "<i2")
    assert np.abs(np.diff(heard.astype(int))).max() <= math.ceil(20000 * 0.9 / 160) + 1
    assert heard[319] == heard[320] == 2000
    assert heard[-1] == 20000


@given(pcm=st.lists(st.integers(-32768, 32767)).map(slin))
def test_a_ramp_from_one_to_one_changes_nothing(pcm: bytes) -> None:
    assert ramp(pcm, 1, 1) == pcm


def test_a_gain_above_one_saturates() -> None:
    assert ramp(slin([30000, -30000]), 2, 2) == slin([32767, -32768])


@pytest.mark.parametrize("measure", [rms_dbfs, peak_dbfs, lambda pcm: ramp(pcm, 1, 1)])
def test_half_a_sample_is_refused(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match="got 3 bytes"):
        measure(b"\0\0\0")
