"""Whether a session has fallen mute: it is its turn, and nothing comes of it."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.serving.muteness import STUCK_SECONDS, Muteness

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

AFTER, PAUSE = 1.2, 1.0


def session(*, probes: bool = True, takes_turns: bool = True) -> Muteness:
    return Muteness(AFTER, takes_turns, probes, PAUSE)


def watched(muteness: Muteness, **standing: float | bool | None) -> tuple[float, float]:
    """When it is to be probed and when given up, `standing` like this at second 100."""
    muteness.observe(100.0, **{"its_turn": False, "caller_spoke_until": None, **standing})  # type: ignore[arg-type]
    return muteness.probe_at, muteness.mute_at


NEVER = (math.inf, math.inf)


def test_a_session_whose_turn_it_is_not_may_be_silent_for_ever() -> None:
    assert watched(session()) == NEVER


def test_one_whose_turn_it_is_is_probed_and_given_up_after_its_time() -> None:
    assert watched(session(), its_turn=True) == (pytest.approx(100.6), pytest.approx(101.2))


def test_its_time_runs_from_when_its_turn_began() -> None:
    muteness = session()
    watched(muteness, its_turn=True)
    muteness.observe(100.5, its_turn=True, caller_spoke_until=None)
    assert muteness.mute_at == pytest.approx(101.2)
    muteness.observe(100.6, its_turn=False, caller_spoke_until=None)
    muteness.observe(105.0, its_turn=True, caller_spoke_until=None)
    assert muteness.mute_at == pytest.approx(106.2), "another turn, another time"


def test_each_sign_of_life_begins_it_anew() -> None:
    muteness = session()
    muteness.alive(100.7)
    assert watched(muteness, its_turn=True) == (pytest.approx(101.3), pytest.approx(101.9))
    muteness.progress(101.0)
    assert watched(muteness, its_turn=True) == (pytest.approx(101.6), pytest.approx(102.2))


def test_a_provider_that_lives_and_gets_nowhere_is_given_up_in_the_end() -> None:
    muteness = session()
    for second in range(100, 111):
        muteness.observe(float(second), its_turn=True, caller_spoke_until=None)
        muteness.alive(float(second))
    assert muteness.mute_at == pytest.approx(100.0 + STUCK_SECONDS)


def test_progress_is_more_than_a_sign_of_life() -> None:
    muteness = session()
    watched(muteness, its_turn=True)
    muteness.progress(105.0)
    muteness.alive(109.9)
    assert muteness.mute_at == pytest.approx(109.9 + AFTER)
    muteness.alive(200.0)
    assert muteness.mute_at == pytest.approx(105.0 + STUCK_SECONDS)


def test_one_that_cannot_be_probed_is_given_up_only_when_it_is_stuck() -> None:
    assert watched(session(probes=False), its_turn=True) == (math.inf, pytest.approx(100.0 + STUCK_SECONDS))


def test_a_caller_who_was_not_noticed_is_a_reason_to_probe_after_the_longest_pause() -> None:
    assert watched(session(), caller_spoke_until=98.0) == (pytest.approx(99.6), pytest.approx(100.2))


def test_what_a_living_provider_takes_no_notice_of_was_nothing() -> None:
    muteness = session()
    for tenth in range(1000):
        now = 100.0 + tenth / 10
        muteness.observe(now, its_turn=False, caller_spoke_until=99.0)
        muteness.alive(now)
        assert muteness.mute_at > now


@pytest.mark.parametrize(
    ("muteness", "spoke_until"),
    [
        pytest.param(session(takes_turns=False), 98.0, id="whose turns are taken by agentd"),
        pytest.param(session(probes=False), 98.0, id="that cannot be probed"),
        pytest.param(session(), None, id="whose caller still speaks, or never did"),
    ],
)
def test_it_is_no_reason_for_one(muteness: Muteness, spoke_until: float | None) -> None:
    assert watched(muteness, caller_spoke_until=spoke_until) == NEVER


def test_a_word_of_the_session_after_the_caller_s_is_notice_enough() -> None:
    muteness = session()
    muteness.progress(98.5)
    assert watched(muteness, caller_spoke_until=98.0) == NEVER
    assert muteness.noticed(98.5)
    assert not muteness.noticed(98.6)


def test_what_came_late_undoes_nothing() -> None:
    muteness = session()
    muteness.progress(100.0)
    muteness.progress(-math.inf)
    muteness.alive(100.0)
    muteness.alive(50.0)
    assert watched(muteness, its_turn=True)[0] == pytest.approx(100.6)


moments = st.floats(0.0, 1000.0)
ROUNDING = 1e-9
"""Seconds: half of a time is added twice, and 64 + 0.6 + 0.6 is a bit less than 64 + 1.2."""


@unhurried
@given(moments, st.lists(moments, max_size=5), st.lists(moments, max_size=5), st.booleans(), moments | st.none())
def test_no_session_is_given_up_within_its_time_after_a_sign_of_life(
    turn: float, lives: list[float], progresses: list[float], its_turn: bool, spoke_until: float | None
) -> None:
    muteness = session()
    for at in lives:
        muteness.alive(at)
    for at in progresses:
        muteness.progress(at)
    muteness.observe(turn, its_turn=its_turn, caller_spoke_until=spoke_until)
    assert muteness.mute_at >= max(progresses, default=0.0) + min(AFTER, STUCK_SECONDS)
    assert muteness.mute_at >= min([turn] if spoke_until is None else [turn, spoke_until])
    if not its_turn:
        assert muteness.mute_at >= max([*lives, *progresses], default=0.0) + AFTER - ROUNDING
