"""When a sound is weighed, and what lets the agent go on."""

from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.turns.first_sound import WEIGH_MS, Kinds, Suspect, is_nothing

shares = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 1)).map(
    lambda three: Kinds(*(one / sum(three) for one in three))
)


@given(shares, st.floats(64, 700), st.booleans(), st.booleans())
def test_what_is_nothing_upon_a_question_is_nothing_otherwise(
    kinds: Kinds, sound_ms: float, paused: bool, asked: bool
) -> None:
    if is_nothing(kinds, sound_ms, paused=paused, asked=True):
        assert is_nothing(kinds, sound_ms, paused=paused, asked=asked)


@given(shares, st.floats(64, 700), st.floats(64, 700))
def test_the_more_of_a_sound_is_known_the_less_is_needed(kinds: Kinds, one: float, other: float) -> None:
    early, late = sorted((one, other))
    if is_nothing(kinds, early, paused=False, asked=False):
        assert is_nothing(kinds, late, paused=False, asked=False)
        assert is_nothing(kinds, late, paused=True, asked=False)


@given(st.sampled_from([10.0, 20.0, 32.0, 96.0]))
def test_a_sound_is_weighed_at_its_times_and_no_more_whatever_the_windows(window_ms: float) -> None:
    suspect = Suspect(64.0)
    asked = sum(suspect.due(window_ms, just_paused=False) for _ in range(200))
    assert asked == len({-(-(at - 64) // window_ms) for at in WEIGH_MS})


def test_a_pause_is_another_occasion() -> None:
    suspect = Suspect(64.0)
    assert suspect.due(32.0, just_paused=True)
    assert not suspect.due(32.0, just_paused=False)
