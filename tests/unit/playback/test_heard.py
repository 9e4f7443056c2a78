"""How many words were heard of what was played."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.playback.heard import expected_seconds, words_heard

texts = st.lists(st.text(alphabet="abcdef", min_size=1, max_size=12), max_size=12).map(" ".join)


@pytest.mark.parametrize(("played", "count"), [(0, 0), (2.7, 0), (2.8, 1), (8.2, 1), (8.3, 2), (13.2, 2), (13.3, 3)])
def test_a_word_counts_when_half_of_its_time_was_played(played: float, count: int) -> None:
    """In characters, a gap being one and a half: the words begin at 0, 5.5 and 11, and it is all over at 15.5."""
    assert words_heard("just four say", played, 15.5) == count


def test_long_words_take_longer_than_short_ones() -> None:
    assert words_heard("a incomprehensibilities", 0.4, 1.0) == 1
    assert words_heard("incomprehensibilities a", 0.4, 1.0) == 0


@given(texts, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 1e6))
def test_more_audio_is_never_fewer_words(text: str, one: float, other: float, total: float) -> None:
    less, more = sorted((one, other))
    assert 0 <= words_heard(text, less, total) <= words_heard(text, more, total) <= len(text.split())


@given(texts, st.floats(1, 1e6))
def test_all_of_the_audio_is_all_of_the_words_and_none_is_none(text: str, total: float) -> None:
    assert words_heard(text, total, total) == len(text.split())
    assert words_heard(text, 0.0, total) == 0


def test_words_without_audio_were_not_heard() -> None:
    assert words_heard("never spoken", 0, 0) == 0


def test_a_sentence_is_expected_to_take_about_as_long_as_people_take() -> None:
    assert expected_seconds("") == 0
    assert 2.0 < expected_seconds("The quick brown fox jumps over the lazy dog.") < 4.5
