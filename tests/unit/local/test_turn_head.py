"""The head on Smart Turn's encoder: a row of weights for each look."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.turn_head import FILE, LEAST, Head, complete, packaged
from agentd_providers.turns.settings import LOOKS_MS

POOLED = 384
HEAD = Head(
    np.array([[1.0, -1.0], [0.0, 0.0]], np.float32), np.array([0.5, 1.0], np.float32), np.array([0.0, 2.0], np.float32)
)
odds = st.floats(-1e6, 1e6, width=32)


@given(st.floats(0, 1), odds, odds, st.integers(0, 5))
def test_whatever_was_heard_is_a_probability_that_is_never_sure(smart, one, other, look):
    found = HEAD.complete(smart, np.array([one, other], np.float32), look)
    assert LEAST <= found <= 1 - LEAST


def test_each_look_has_weights_of_its_own():
    heard = np.array([3.0, 0.0], np.float32)
    assert HEAD.complete(0.5, heard, 0) == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-6)
    assert HEAD.complete(0.5, heard, 1) == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)


def test_a_look_beyond_the_last_is_judged_as_the_last():
    heard = np.array([0.3, 0.2], np.float32)
    assert HEAD.complete(0.4, heard, 7) == HEAD.complete(0.4, heard, 1)


def test_the_packaged_weights_have_a_row_for_every_look_and_are_small():
    head = packaged()
    assert head.weights.shape == (len(LOOKS_MS), POOLED)
    assert head.smart.shape == head.bias.shape == (len(LOOKS_MS),)
    assert all(np.isfinite(numbers).all() for numbers in (head.weights, head.smart, head.bias))
    assert FILE.stat().st_size < 8192
    assert 0 < complete(0.5, np.zeros(POOLED, np.float32), 0) < 1
