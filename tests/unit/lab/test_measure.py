"""Delays are read from two recordings on one axis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.measure import calibrate_echo, find, response_delay, speech_spans, turns
from tests.lab.speech import parse_transcripts, silence


def noise(seconds: float, seed: int = 0, level: float = 3000) -> bytes:
    samples = np.random.default_rng(seed).normal(0, level, round(seconds * 8000))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


@given(st.floats(0.01, 2), st.floats(0.05, 2))
def test_onset_and_end_of_sound_are_found_to_5_ms(before: float, length: float) -> None:
    (span,) = speech_spans(silence(before) + noise(length) + silence(1))
    assert span.start == pytest.approx(before, abs=0.0051)
    assert span.end == pytest.approx(before + length, abs=0.0051)


def test_a_pause_between_words_belongs_to_the_speech_and_a_click_does_not_count() -> None:
    words = noise(0.5) + silence(0.2) + noise(0.5)
    click = noise(0.005)
    (span,) = speech_spans(silence(0.5) + words + silence(1) + click + silence(0.5))
    assert (span.start, span.end) == (0.5, pytest.approx(1.7))


def test_silence_and_nothing_have_no_speech() -> None:
    assert speech_spans(silence(1)) == speech_spans(b"") == []


def test_the_delay_of_an_answer_counts_from_the_end_of_speech_and_without_the_labs_share() -> None:
    said = silence(1) + noise(1) + silence(4)
    heard = silence(2.8) + noise(1, seed=1) + silence(2.2)
    assert response_delay(said, heard) == pytest.approx(0.8, abs=0.006)
    assert response_delay(said, heard, offset=0.1) == pytest.approx(0.7, abs=0.006)
    assert response_delay(said, heard, after=1.5) is None


def test_an_answer_belongs_to_the_turn_before_it_and_a_turn_may_have_none() -> None:
    said = silence(1) + noise(0.5) + silence(1.5) + noise(0.5) + silence(2.5)
    heard = silence(4) + noise(1, seed=1) + silence(1)
    unanswered, answered = turns(said, heard)
    assert unanswered.delay is None
    assert answered.delay == pytest.approx(0.5, abs=0.006)


@given(st.integers(0, 4000), st.floats(0.1, 1.0))
def test_a_recording_is_found_where_it_lies_at_any_volume(offset: int, gain: float) -> None:
    sought = silence(0.1) + noise(0.3)
    quieter = (np.frombuffer(sought, "<i2") * gain).astype("<i2").tobytes()
    match = find(sought, bytes(2 * offset) + quieter + silence(0.2))
    assert match.correlation > 0.99
    assert match.at == pytest.approx(offset / 8000)


def test_what_was_not_heard_does_not_correlate() -> None:
    assert find(noise(0.5), silence(0.5) + noise(1, seed=9) + silence(1)).correlation < 0.3
    assert find(noise(0.5), silence(2)).correlation < 0.05


def test_an_echo_is_calibrated_even_where_its_end_was_not_recorded() -> None:
    said = silence(0.5) + noise(1)
    assert calibrate_echo(said, (silence(0.02) + said)[: len(said)]).at == pytest.approx(0.02)


@pytest.mark.parametrize(("sought", "heard"), [(silence(1), noise(2)), (noise(2), noise(1)), (b"", b"")])
def test_a_search_that_cannot_be_done_is_refused(sought: bytes, heard: bytes) -> None:
    with pytest.raises(ValueError, match=r"silent|cannot find"):
        find(sought, heard)


def test_transcripts_are_words_only() -> None:
    lines = [
        "; Core",
        "",
        "added: Added.",
        "beep: [a simple beep tone]",
        "followme/sorry: I'm sorry: yes",
        "x: ...",
    ]
    assert parse_transcripts(lines) == {"added": "Added.", "followme/sorry": "I'm sorry: yes"}
