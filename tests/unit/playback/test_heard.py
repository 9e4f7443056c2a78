"""How many words were heard of what was played."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.playback.heard import Words

texts = st.lists(st.text(alphabet="abcdef", min_size=1, max_size=12), max_size=12).map(" ".join)


@pytest.mark.parametrize(("played", "count"), [(0, 0), (2.7, 0), (2.8, 1), (8.2, 1), (8.3, 2), (13.2, 2), (13.3, 3)])
def test_a_word_counts_when_half_of_its_time_was_played(played: float, count: int) -> None:
    """In characters, a gap being one and a half: the words begin at 0, 5.5 and 11, and it is all over at 15.5."""
    assert Words("just four say").heard(played, 15.5) == count


def test_long_words_take_longer_than_short_ones() -> None:
    assert Words("a incomprehensibilities").heard(0.4, 1.0) == 1
    assert Words("incomprehensibilities a").heard(0.4, 1.0) == 0


@given(texts, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 1e6))
def test_more_audio_is_never_fewer_words(text: str, one: float, other: float, total: float) -> None:
    less, more = sorted((one, other))
    assert 0 <= Words(text).heard(less, total) <= Words(text).heard(more, total) <= len(text.split())


@given(texts, st.floats(1, 1e6))
def test_all_of_the_audio_is_all_of_the_words_and_none_is_none(text: str, total: float) -> None:
    assert Words(text).heard(total, total) == len(text.split())
    assert Words(text).heard(0.0, total) == 0


def test_words_without_audio_were_not_heard() -> None:
    assert Words("never spoken").heard(0, 0) == 0


def test_a_sentence_is_expected_to_take_about_as_long_as_people_take() -> None:
    assert Words("").seconds == 0
    assert 2.0 < Words("The quick brown fox jumps over the lazy dog.").seconds < 4.5


# --- where the voice says something else than was written


PRICE = Words("It costs $49.95 in all.", ("It", "costs", "forty-nine dollars and ninety-five cents", "in", "all."))


def test_an_amount_takes_the_time_of_what_is_said_for_it() -> None:
    """It takes most of the time of "It costs $49.95 in all.": by its seven characters "all" would have been heard."""
    assert [PRICE.heard(played, 1.0) for played in (0.2, 0.5, 0.52, 0.9)] == [2, 2, 3, 4]
    assert [Words(PRICE.text).heard(played, 1.0) for played in (0.2, 0.9)] == [1, 5]


def test_a_silent_word_is_heard_with_the_one_before_it() -> None:
    words = Words("Great 😀 now.", ("Great", "", "now."))
    assert [words.heard(played, 10) for played in (0, 2, 5.5, 9, 10)] == [0, 0, 2, 3, 3]


def test_what_is_said_stays_with_its_words_where_segments_are_joined_and_cut() -> None:
    both = Words("It is") + PRICE
    assert both.said == ("It", "is", *PRICE.spoken)
    assert both.behind(3) == PRICE.behind(1)
    assert PRICE.behind(2).said[0] == PRICE.spoken[2]
    assert Words("a b").behind(1) == Words("b")


def test_an_amount_is_expected_to_take_as_long_as_its_words() -> None:
    assert PRICE.seconds > 1.5 * Words(PRICE.text).seconds


def test_what_does_not_fit_the_words_counts_for_nothing() -> None:
    assert Words("one two", ("one",)).said == ("one", "two")


@given(texts, st.lists(st.text(alphabet="ab ", max_size=9), max_size=12), st.floats(0, 1e6), st.floats(1, 1e6))
def test_whatever_is_said_no_more_words_are_heard_than_there_are(
    text: str, spoken: list[str], heard: float, total: float
) -> None:
    assert 0 <= Words(text, tuple(spoken)).heard(heard, total) <= len(text.split())
