"""When a sound is weighed, and what lets the agent go on, wait, or pause again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.turns.first_sound import (
    FIRST_MS,
    GOES_ON,
    LAST_MS,
    SILENT_MS,
    WAITS,
    Kinds,
    Suspect,
    Verdict,
    at_length,
)

shares = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 1)).map(
    lambda three: Kinds(*(one / sum(three) for one in three))
)
NOTHING, UNSURE, TURN = Kinds(0.0, 1.0, 0.0), Kinds(0.3, 0.4, 0.3), Kinds(0.0, 0.0, 1.0)


def verdict(kinds: Kinds, ms: float, *, ended: bool = False, asked: bool = False, silent: bool = True) -> Verdict:
    return Suspect(ms).weigh(kinds, ended=ended, asked=asked, silent=silent)


@given(shares, st.floats(64, 700), st.booleans(), st.booleans())
def test_what_is_nothing_upon_a_question_is_nothing_otherwise(
    kinds: Kinds, sound_ms: float, ended: bool, asked: bool
) -> None:
    if verdict(kinds, sound_ms, ended=ended, asked=True) is Verdict.GO_ON:
        assert verdict(kinds, sound_ms, ended=ended, asked=asked) is Verdict.GO_ON


@given(shares, st.floats(128, 700), st.floats(128, 700))
def test_the_more_of_a_sound_is_known_the_less_is_needed_to_go_on_and_the_more_to_wait(
    kinds: Kinds, one: float, other: float
) -> None:
    early, late = sorted((one, other))
    if verdict(kinds, early) is Verdict.GO_ON:
        assert verdict(kinds, late) is Verdict.GO_ON
    if verdict(kinds, early, silent=False) is Verdict.PAUSE:
        assert verdict(kinds, late, silent=False) is not Verdict.AS_BEFORE


def test_the_agent_never_waits_for_longer_than_96_ms_with_its_pause() -> None:
    assert verdict(UNSURE, FIRST_MS, silent=False) is Verdict.AS_BEFORE
    assert verdict(UNSURE, FIRST_MS + 96, silent=False) is Verdict.PAUSE


def test_at_a_turn_it_pauses_at_once() -> None:
    assert verdict(TURN, FIRST_MS, silent=False) is Verdict.PAUSE


def test_who_has_paused_is_not_told_to_pause() -> None:
    assert verdict(TURN, FIRST_MS) is Verdict.AS_BEFORE


def test_what_is_a_turn_after_all_has_the_agent_pause_again_once() -> None:
    suspect = Suspect(256.0)
    assert suspect.weigh(NOTHING, ended=False, asked=False, silent=True) is Verdict.GO_ON
    assert suspect.weigh(NOTHING, ended=False, asked=False, silent=True) is Verdict.AS_BEFORE
    assert suspect.weigh(TURN, ended=True, asked=False, silent=True) is Verdict.AS_BEFORE
    assert suspect.weigh(TURN, ended=False, asked=False, silent=True) is Verdict.PAUSE
    assert not suspect.nothing
    assert not suspect.due(32.0, just_paused=True)
    assert suspect.weigh(NOTHING, ended=False, asked=False, silent=True) is Verdict.AS_BEFORE


def test_an_agent_that_has_been_silent_for_long_goes_on_only_where_it_is_surer() -> None:
    likely, suspect = Kinds(0.0, 0.9, 0.1), Suspect(FIRST_MS)
    assert suspect.weigh(TURN, ended=False, asked=False, silent=False) is Verdict.PAUSE
    suspect.due(SILENT_MS, just_paused=False)
    assert suspect.weigh(likely, ended=False, asked=False, silent=True) is Verdict.AS_BEFORE
    assert suspect.weigh(NOTHING, ended=False, asked=False, silent=True) is Verdict.GO_ON
    waited = Suspect(FIRST_MS + SILENT_MS)
    assert waited.weigh(likely, ended=False, asked=False, silent=True) is Verdict.GO_ON


@pytest.mark.parametrize("window_ms", [10.0, 20.0, 32.0, 96.0])
def test_a_sound_is_weighed_with_each_window_of_its_beginning_and_no_more(window_ms: float) -> None:
    suspect = Suspect(64.0)
    lengths = [64.0 + window_ms * (number + 1) for number in range(100)]
    assert sum(suspect.due(window_ms, just_paused=False) for _ in lengths) == sum(
        FIRST_MS <= length <= LAST_MS for length in lengths
    )


def test_a_pause_is_another_occasion() -> None:
    suspect = Suspect(600.0)
    assert suspect.due(32.0, just_paused=True)
    assert not suspect.due(32.0, just_paused=False)


@pytest.mark.parametrize("steps", [WAITS, GOES_ON])
def test_what_is_needed_is_known_for_each_length(steps: tuple[tuple[float, float], ...]) -> None:
    assert at_length(steps, 0.0) == steps[0][1]
    assert at_length(steps, 10_000.0) == steps[-1][1]
    assert [length for length, _ in steps] == sorted({length for length, _ in steps})
