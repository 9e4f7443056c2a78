"""Whether an agent gave way is read off what was heard, against the utterance as it is without a caller."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.interruption import follow, judge, silences, sounds_at
from tests.lab.speech import silence


def voice(seconds: float, seed: int = 0) -> bytes:
    """Noise whose loudness moves as that of speech does, in syllables of 200 ms."""
    chance = np.random.default_rng(seed)
    time = np.arange(round(seconds * 8000)) / 8000
    samples = chance.normal(0, 3000, len(time)) * (0.55 + 0.45 * np.sin(2 * np.pi * 5 * time))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


def scaled(pcm: bytes, decibels: float) -> bytes:
    return np.rint(np.frombuffer(pcm, "<i2") * 10 ** (decibels / 20)).astype("<i2").tobytes()


def part(pcm: bytes, start: float, end: float) -> bytes:
    return pcm[round(start * 8000) * 2 : round(end * 8000) * 2]


SPEECH = voice(10)
LEAD = silence(0.5)


def test_an_agent_that_stops_gave_way_after_the_time_from_onset_to_silence() -> None:
    heard = LEAD + part(SPEECH, 0, 3.24) + silence(3)
    outcome = judge(SPEECH, heard, onset=3.5, until=6.5)
    assert outcome.gave_way
    assert outcome.stop_ms == pytest.approx(240, abs=6)
    assert outcome.attenuate_ms is None


def test_the_labs_own_delay_is_taken_off() -> None:
    heard = LEAD + part(SPEECH, 0, 3.24) + silence(3)
    assert judge(SPEECH, heard, onset=3.4, until=6.4, offset=0.1).stop_ms == pytest.approx(240, abs=6)


def test_an_answer_after_the_stop_is_not_the_utterance_going_on() -> None:
    heard = LEAD + part(SPEECH, 0, 3.24) + silence(0.9) + voice(3, seed=5)
    outcome = judge(SPEECH, heard, onset=3.5, until=7.0)
    assert outcome.gave_way
    assert outcome.stop_ms == pytest.approx(240, abs=6)


def test_an_agent_that_talks_on_did_not_give_way_and_lost_nothing() -> None:
    outcome = judge(SPEECH, LEAD + SPEECH, onset=3.5, until=9.0)
    assert not outcome.gave_way
    assert (outcome.stop_ms, outcome.resumed, outcome.attenuate_ms, outcome.lost_ms) == (None, True, None, 0)


def test_quieter_is_not_silent_and_its_beginning_is_found() -> None:
    heard = LEAD + part(SPEECH, 0, 3.04) + scaled(part(SPEECH, 3.04, 4), -18) + part(SPEECH, 4, 10)
    outcome = judge(SPEECH, heard, onset=3.5, until=9.0)
    assert outcome.stop_ms is None and outcome.resumed
    assert outcome.attenuate_ms == pytest.approx(40, abs=21)
    assert outcome.lost_ms == 0


def test_attenuation_before_a_stop_is_found_too() -> None:
    heard = LEAD + part(SPEECH, 0, 3.04) + scaled(part(SPEECH, 3.04, 3.3), -18) + silence(3)
    outcome = judge(SPEECH, heard, onset=3.5, until=6.0)
    assert outcome.gave_way
    assert outcome.stop_ms == pytest.approx(300, abs=6)
    assert outcome.attenuate_ms == pytest.approx(40, abs=21)


def test_speech_that_is_attenuated_below_the_threshold_is_not_silence_yet() -> None:
    heard = LEAD + part(SPEECH, 0, 3.04) + scaled(part(SPEECH, 3.04, 3.3), -35) + silence(3)
    assert silences(heard)[1].start < 3.6
    assert judge(SPEECH, heard, onset=3.5, until=6.0).stop_ms == pytest.approx(300, abs=21)


@given(pause=st.floats(0.1, 0.45), at=st.floats(3.1, 5.0))
@settings(max_examples=15, deadline=None)
def test_a_short_pause_that_is_made_up_for_is_no_stop_and_loses_nothing(pause: float, at: float) -> None:
    heard = LEAD + part(SPEECH, 0, at) + silence(pause) + part(SPEECH, at, 10)
    outcome = judge(SPEECH, heard, onset=3.5, until=9.0)
    assert outcome.stop_ms is None and outcome.resumed
    assert outcome.lost_ms <= 20


def test_what_is_too_faint_to_be_recognised_for_a_while_is_not_lost() -> None:
    faint = scaled(part(SPEECH, 4, 4.5), -22)
    utterance = part(SPEECH, 0, 4) + faint + part(SPEECH, 4.5, 10)
    heard = LEAD + part(SPEECH, 0, 4) + silence(0.4) + part(SPEECH, 4.4, 10)
    assert judge(utterance, heard, onset=3.5, until=9.0).lost_ms == 0


@given(lost=st.floats(0.2, 1.0))
@settings(max_examples=15, deadline=None)
def test_what_was_left_out_is_lost(lost: float) -> None:
    heard = LEAD + part(SPEECH, 0, 4) + silence(0.2) + part(SPEECH, 4 + lost, 10)
    outcome = judge(SPEECH, heard, onset=3.5, until=8.0)
    assert outcome.stop_ms is None and outcome.resumed
    assert outcome.lost_ms == pytest.approx(1000 * lost, abs=60)


def test_a_long_pause_is_a_stop_even_if_the_utterance_goes_on_afterwards() -> None:
    heard = LEAD + part(SPEECH, 0, 4) + silence(0.7) + part(SPEECH, 4, 10)
    outcome = judge(SPEECH, heard, onset=3.5, until=8.0)
    assert outcome.stop_ms == pytest.approx(1000, abs=11)
    assert outcome.resumed and not outcome.gave_way
    assert outcome.lost_ms <= 20


def test_words_said_again_after_a_pause_are_not_lost() -> None:
    heard = LEAD + part(SPEECH, 0, 4) + silence(0.3) + part(SPEECH, 3.6, 10)
    assert judge(SPEECH, heard, onset=3.5, until=8.0).lost_ms <= 20


def test_the_utterances_own_pause_is_no_stop() -> None:
    utterance = part(SPEECH, 0, 4) + silence(0.8) + part(SPEECH, 4, 10)
    outcome = judge(utterance, LEAD + utterance, onset=3.5, until=9.0)
    assert outcome.stop_ms is None and outcome.resumed


def test_its_own_pause_does_not_make_a_stop_of_a_short_one() -> None:
    utterance = part(SPEECH, 0, 4) + silence(0.3) + part(SPEECH, 4, 10)
    held = LEAD + part(SPEECH, 0, 4) + silence(0.3 + 0.35) + part(SPEECH, 4, 10)
    assert judge(utterance, held, onset=3.5, until=9.0).stop_ms is None
    stopped = LEAD + part(SPEECH, 0, 4) + silence(0.3 + 0.7) + part(SPEECH, 4, 10)
    assert judge(utterance, stopped, onset=3.5, until=9.0).stop_ms == pytest.approx(1000, abs=11)


@pytest.mark.parametrize("pause", [0.2, 0.29, 0.31, 0.45])
def test_a_shorter_silence_is_no_stop_and_is_measured(pause: float) -> None:
    heard = LEAD + part(SPEECH, 0, 4) + silence(pause) + part(SPEECH, 4, 10)
    outcome = judge(SPEECH, heard, onset=3.5, until=9.0)
    assert outcome.stop_ms is None and outcome.resumed
    assert outcome.silent_ms == pytest.approx(1000 * pause, abs=15)


def test_its_own_pause_is_no_silence_of_the_caller_s_making() -> None:
    utterance = part(SPEECH, 0, 4) + silence(0.6) + part(SPEECH, 4, 10)
    assert judge(utterance, LEAD + utterance, onset=3.5, until=9.0).silent_ms <= 20
    held = LEAD + part(SPEECH, 0, 4) + silence(0.6 + 0.25) + part(SPEECH, 4, 10)
    assert judge(utterance, held, onset=3.5, until=9.0).silent_ms == pytest.approx(250, abs=21)


def test_a_stop_in_its_own_pause_is_one() -> None:
    utterance = part(SPEECH, 0, 4) + silence(0.3) + part(SPEECH, 4, 10)
    outcome = judge(utterance, LEAD + part(SPEECH, 0, 4) + silence(3), onset=3.5, until=7.0)
    assert outcome.gave_way
    assert outcome.stop_ms == pytest.approx(1000, abs=11)


def test_a_stop_is_half_a_second_of_silence() -> None:
    (span,) = silences(voice(1) + silence(0.49) + voice(1) + silence(0.6) + voice(1))
    assert (span.start, span.end) == (pytest.approx(2.49, abs=0.006), pytest.approx(3.09, abs=0.006))


def test_a_caller_comes_in_where_the_utterance_sounds() -> None:
    utterance = part(SPEECH, 0, 2) + silence(0.5) + part(SPEECH, 2, 4)
    assert sounds_at(utterance, 1.0)
    assert not sounds_at(utterance, 1.6)
    assert not sounds_at(utterance, 2.2)
    assert not sounds_at(utterance, 4.2)


def test_what_is_not_in_the_utterance_has_no_place_in_it() -> None:
    track = follow(SPEECH, LEAD + voice(2, seed=7))
    assert (track.place == -1).all()
    assert track.went_on_until == 0
