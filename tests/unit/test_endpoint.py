"""When a caller's turn begins and ends, window by window."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.audio.endpoint import Boundary, Endpointer

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

WINDOW = 32.0
NONE, STARTED, ENDED = Boundary.NONE, Boundary.STARTED, Boundary.ENDED
probabilities = st.lists(st.floats(0, 1), max_size=200)


def endpointer(start_ms: float = 96, stop_ms: float = 480, max_ms: float = 30_000) -> Endpointer:
    return Endpointer(start_ms, stop_ms, max_ms)


def hear(ear: Endpointer, *windows: float) -> list[Boundary]:
    return [ear.feed(probability, WINDOW) for probability in windows]


def test_a_turn_begins_after_enough_speech() -> None:
    assert hear(endpointer(), 0.9, 0.9, 0.9) == [NONE, NONE, STARTED]


def test_a_click_begins_no_turn() -> None:
    assert hear(endpointer(), 0.9, 0.9, *[0.0] * 50) == [NONE] * 52


def test_one_dip_does_not_undo_an_onset() -> None:
    assert hear(endpointer(), 0.9, 0.9, 0.1, 0.9, 0.9) == [NONE, NONE, NONE, NONE, STARTED]


def test_a_turn_ends_after_enough_silence_and_not_a_window_earlier() -> None:
    ear = endpointer()
    hear(ear, 0.9, 0.9, 0.9)
    assert hear(ear, *[0.0] * 14) == [NONE] * 14
    assert ear.silence_ms == 448
    assert hear(ear, 0.0) == [ENDED]
    assert not ear.in_turn


def test_a_pause_shorter_than_that_belongs_to_the_turn() -> None:
    ear = endpointer()
    hear(ear, 0.9, 0.9, 0.9)
    assert hear(ear, *[0.0] * 14, 0.9, *[0.0] * 14, 0.9) == [NONE] * 30
    assert ear.in_turn
    assert ear.silence_ms == 0


def test_a_turn_goes_on_at_probabilities_that_would_not_have_begun_it() -> None:
    ear = endpointer()
    assert hear(ear, *[0.4] * 50) == [NONE] * 50
    hear(ear, 0.9, 0.9, 0.9)
    assert hear(ear, *[0.4] * 50) == [NONE] * 50
    assert ear.in_turn


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.15, 0.2, 0.5, 0.9])
def test_silence_ends_a_turn_at_every_threshold_that_can_be_configured(threshold: float) -> None:
    ear = Endpointer(96, 480, 30_000, threshold)
    assert STARTED in hear(ear, *[1.0] * 3)
    assert ENDED in hear(ear, *[0.0] * 15)


def test_a_turn_that_does_not_end_is_ended() -> None:
    ear = endpointer(max_ms=320)
    assert hear(ear, *[0.9] * 10) == [NONE, NONE, STARTED, *[NONE] * 6, ENDED]


def test_a_caller_who_goes_on_after_that_is_in_a_new_turn() -> None:
    ear = endpointer(max_ms=320)
    hear(ear, *[0.9] * 10)
    assert hear(ear, 0.9, 0.9, 0.9) == [NONE, NONE, STARTED]


def test_turns_follow_each_other() -> None:
    ear = endpointer()
    turn = [*[0.9] * 10, *[0.0] * 20]
    boundaries = [boundary for boundary in hear(ear, *turn * 3) if boundary is not NONE]
    assert boundaries == [STARTED, ENDED] * 3


@unhurried
@given(probabilities)
def test_turns_begin_and_end_in_turn(windows: list[float]) -> None:
    ear = endpointer()
    boundaries = [boundary for boundary in hear(ear, *windows) if boundary is not NONE]
    assert boundaries[::2] == [STARTED] * len(boundaries[::2])
    assert boundaries[1::2] == [ENDED] * len(boundaries[1::2])
    assert ear.in_turn is (len(boundaries) % 2 == 1)


@unhurried
@given(probabilities, st.integers(96, 1000), st.integers(96, 1000), st.integers(1000, 3000))
def test_no_turn_is_shorter_than_its_onset_or_longer_than_its_bound(
    windows: list[float], start_ms: int, stop_ms: int, max_ms: int
) -> None:
    ear = Endpointer(start_ms, stop_ms, max_ms)
    began_at = None
    for index, probability in enumerate(windows):
        now = (index + 1) * WINDOW
        match ear.feed(probability, WINDOW):
            case Boundary.STARTED:
                assert now >= start_ms
                began_at = now - start_ms
            case Boundary.ENDED:
                assert began_at is not None
                assert now - began_at <= max_ms + WINDOW
                silent = all(value < 0.35 for value in windows[index + 1 - -(-stop_ms // 32) : index + 1])
                assert silent or now - began_at >= max_ms - WINDOW
                began_at = None


@unhurried
@given(probabilities)
def test_silence_never_begins_a_turn(windows: list[float]) -> None:
    assert set(hear(endpointer(), *[value * 0.49 for value in windows])) <= {NONE}
