"""The rows that weigh the cues: one for whatever is known, in which no cue counts against itself."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.turns.settings import LOOKS_MS
from agentd_providers.turns.weights import ROWS, WEIGHING, log_odds

looks = st.none() | st.integers(0, 9)
sure = st.floats(0, 1)


def test_there_is_a_row_for_every_look_with_and_without_the_sentence():
    assert set(ROWS) == {(look, known) for look in (None, *range(len(LOOKS_MS))) for known in (False, True)}


@given(looks, st.booleans())
def test_no_cue_counts_against_itself(look, known):
    found = WEIGHING.row(look, sentence=known)
    assert min(found.sound, found.words, found.sentence) >= 0


def test_what_is_not_known_is_not_weighed():
    assert {weights.sound for (look, _), weights in ROWS.items() if look is None} == {0.0}
    assert {weights.sentence for (_, known), weights in ROWS.items() if not known} == {0.0}


def test_looks_beyond_those_that_were_fitted_count_as_the_last():
    assert WEIGHING.row(99, sentence=True) == WEIGHING.row(len(LOOKS_MS) - 1, sentence=True)


def test_the_curve_falls():
    points = attrs.astuple(WEIGHING.curve)
    assert list(points) == sorted(points, reverse=True)


@given(sure)
def test_log_odds_are_those_of_a_cue_that_is_never_quite_sure(probability):
    assert -5.3 < log_odds(probability) < 5.3
    assert log_odds(probability) == pytest.approx(-log_odds(1 - probability), abs=1e-9)
