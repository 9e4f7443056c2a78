"""When progress counts as stale."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.service.watchdog import ProgressWatch


def test_a_part_is_stale_only_when_its_last_beat_is_older_than_its_own_limit() -> None:
    watch = ProgressWatch({"ari_pump": 10.0, "listener": 20.0}, started=100.0)
    assert watch.stale(110.0) == []
    assert watch.stale(110.1) == ["ari_pump"]
    assert watch.stale(120.1) == ["ari_pump", "listener"]
    watch.beat("ari_pump", 120.0)
    assert watch.stale(120.1) == ["listener"]


def test_a_resting_part_is_never_stale_until_it_has_begun_again() -> None:
    watch = ProgressWatch({"line_clock": 1.0}, started=0.0)
    watch.rest("line_clock")
    assert watch.stale(1e6) == []
    watch.beat("line_clock", 1e6)
    assert watch.stale(1e6 + 2) == ["line_clock"]


def test_an_unknown_part_is_a_programming_error() -> None:
    watch = ProgressWatch({"listener": 1.0}, started=0.0)
    with pytest.raises(KeyError, match=r"listner.*expected one of listener"):
        watch.beat("listner", 0.0)
    with pytest.raises(KeyError, match="listner"):
        watch.rest("listner")


@given(beats=st.lists(st.floats(0, 1e6), min_size=1), limit=st.floats(0.1, 100), wait=st.floats(0, 200))
def test_only_the_latest_beat_counts(beats: list[float], limit: float, wait: float) -> None:
    watch = ProgressWatch({"part": limit}, started=0.0)
    for now in sorted(beats):
        watch.beat("part", now)
    now = max(beats) + wait
    assert watch.stale(now) == (["part"] if now - max(beats) > limit else [])
