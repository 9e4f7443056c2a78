"""Quantiles, the daemon's metrics, and the sounds that are no turn."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import distractors, figures
from tests.lab.bench_pacing import steadiness
from tests.lab.figures import Conditions, buckets, histogram_quantile, in_words, quantile, since, spread, total
from tests.lab.measure import speech_spans
from tests.lab.speech import silence

METRICS = """\
# TYPE agentd_late_seconds histogram
agentd_late_seconds_bucket{le="0.001"} 90
agentd_late_seconds_bucket{le="0.003"} 98
agentd_late_seconds_bucket{le="0.005"} 100
agentd_late_seconds_bucket{le="+Inf"} 100
agentd_late_seconds_count 100
agentd_late_seconds_sum 0.1
# TYPE agentd_underruns_total counter
agentd_underruns_total{kind="a"} 2
agentd_underruns_total{kind="b"} 1
"""


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_one_of_the_values_with_that_share_around_it(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    below = sum(value < found for value in values) / len(values)
    above = sum(value > found for value in values) / len(values)
    assert below <= share + 1 / len(values) and above <= 1 - share + 1 / len(values)


def test_the_ends_are_the_least_and_the_most_and_nothing_has_no_quantile() -> None:
    assert (quantile([3, 1, 2], 0), quantile([3, 1, 2], 1)) == (1, 3)
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_spread_of_nothing_is_none() -> None:
    assert spread([float(n) for n in range(101)]) == {"p50": 50, "p95": 95, "max": 100}
    assert spread([0.25], digits=1) == {"p50": 0.2, "p95": 0.2, "max": 0.2}
    assert spread([]) == {"p50": None, "p95": None, "max": None}
    assert in_words(spread([])) == "p50 -  p95 -  max -"


def test_a_histograms_quantile_is_interpolated_within_its_bucket() -> None:
    counts = buckets(METRICS, "agentd_late_seconds")
    assert histogram_quantile(counts, 0.45) == pytest.approx(0.0005)
    assert histogram_quantile(counts, 0.94) == pytest.approx(0.002)
    assert histogram_quantile(counts, 0.99) == pytest.approx(0.004)


def test_what_lies_beyond_the_last_bound_is_not_known_and_nothing_has_no_quantile() -> None:
    assert histogram_quantile({0.1: 1, math.inf: 2}, 0.99) == math.inf
    assert histogram_quantile({0.1: 0, math.inf: 0}, 0.5) is None
    assert histogram_quantile({}, 0.5) is None


def test_only_what_was_observed_in_between_counts() -> None:
    after = buckets(METRICS, "agentd_late_seconds")
    assert histogram_quantile(since({0.001: 90, 0.003: 90, 0.005: 90, math.inf: 90}, after), 0.8) == pytest.approx(
        0.003
    )


def test_a_counter_is_summed_over_its_labels_and_an_unknown_one_is_told_from_zero() -> None:
    assert total(METRICS, "agentd_underruns_total") == 3
    assert total(METRICS, "agentd_overruns_total") is None


def test_a_report_states_the_machine_and_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "OUT", tmp_path)
    path = figures.write_report("x", {"figure": 1}, Conditions.now())
    report = json.loads(path.read_text())
    assert report["figure"] == 1
    assert report["machine"]["cores"] >= 1
    assert len(report["machine"]["load_average_before"]) == len(report["machine"]["load_average_after"]) == 3


def test_the_processor_is_named_where_the_kernel_tells(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fine CPU @ 3 GHz\n")
    assert figures.cpu_model(tmp_path / "cpuinfo") == "A Fine CPU @ 3 GHz"
    assert figures.cpu_model(tmp_path / "none")


def test_silence_inside_a_story_is_told_from_its_end() -> None:
    sound = (np.random.default_rng(0).normal(0, 3000, 8000)).astype("<i2").tobytes()
    heard = sound + silence(0.3) + sound + silence(4) + sound
    assert steadiness(heard) == {"speech_seconds": pytest.approx(3.3), "longest_silence_in_speech_ms": 300}


@pytest.mark.parametrize("make", [distractors.cough, distractors.throat_clearing, distractors.line_noise,
                                  distractors.breath, distractors.clicks])  # fmt: skip
def test_a_distractor_is_heard_is_the_same_each_time_and_differs_by_seed(make: object) -> None:
    assert callable(make)
    assert speech_spans(make(1), shortest_seconds=0.005)
    assert make(1) == make(1) != make(2)


def test_an_echo_is_that_much_quieter() -> None:
    loud = np.full(100, 10000, "<i2").tobytes()
    assert np.frombuffer(distractors.echo_of(loud, -20.0), "<i2").max() == 1000
