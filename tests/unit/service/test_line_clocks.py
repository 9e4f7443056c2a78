"""Whether the running calls' lines keep their time."""

import pytest

from agentd.metrics import Metrics
from agentd.service.line_clocks import FEWEST, LOOK, LineClocks


def write(metrics: Metrics, frames: int, late: int = 0) -> None:
    for number in range(frames):
        metrics.line_lateness_seconds.observe(0.05 if number < late else 0.001)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def clocks(metrics: Metrics) -> LineClocks:
    write(metrics, 1000, late=1000)
    clocks = LineClocks(metrics)
    assert not clocks.late(100.0), "long ago"
    return clocks


@pytest.mark.parametrize(
    ("frames", "late", "expected"),
    [
        (100, 0, False),
        (100, 5, False),
        (100, 6, True),
        (100, 100, True),
        (FEWEST - 1, FEWEST - 1, False),
        (0, 0, False),
    ],
)
def test_lines_are_late_where_one_frame_in_twenty_is(
    frames: int, late: int, expected: bool, clocks: LineClocks, metrics: Metrics
) -> None:
    write(metrics, frames, late)
    assert clocks.late(100.0 + LOOK) is expected


def test_it_is_looked_once_a_second_and_what_was_is_forgotten(clocks: LineClocks, metrics: Metrics) -> None:
    write(metrics, 100, late=50)
    assert not clocks.late(100.0 + LOOK / 2)
    assert clocks.late(100.0 + LOOK)
    write(metrics, 100)
    assert clocks.late(100.0 + LOOK * 1.5)
    assert not clocks.late(100.0 + LOOK * 2)


def test_a_look_after_a_long_time_tells_nothing_of_now(clocks: LineClocks, metrics: Metrics) -> None:
    write(metrics, 100, late=50)
    assert not clocks.late(100.0 + LOOK * 60)
