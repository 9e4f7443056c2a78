"""Metrics that are fed with every frame."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from agentd.metrics import FINE_SECONDS, Tally

AMOUNTS = st.one_of(st.floats(0, 1), st.sampled_from(FINE_SECONDS))


@given(st.lists(AMOUNTS))
def test_a_tally_exports_what_a_histogram_does(amounts: Sequence[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("lateness", "How late.", FINE_SECONDS)
    ours.register(tally)
    histogram = Histogram("lateness", "How late.", buckets=FINE_SECONDS, registry=theirs)
    for amount in amounts:
        tally.observe(amount)
        histogram.observe(amount)
    told = [line for line in generate_latest(theirs).decode().splitlines() if "_created" not in line]
    assert generate_latest(ours).decode().splitlines() == told


@pytest.mark.parametrize(("bound", "expected"), [(0.0005, 0), (0.02, 2), (0.5, 3)])
def test_a_tally_tells_how_many_were_no_larger(bound: float, expected: int) -> None:
    tally = Tally("lateness", "How late.", FINE_SECONDS)
    for amount in (0.01, 0.02, 0.021, 7.0):
        tally.observe(amount)
    assert (tally.up_to(bound), tally.count) == (expected, 4)
