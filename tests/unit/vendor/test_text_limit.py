"""Cutting a text that is longer than a vendor takes at once."""

from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.vendor.text_limit import pieces_of


def test_a_short_text_is_one_piece() -> None:
    assert pieces_of(" Hello, you. ", 100) == ["Hello, you."]


def test_a_long_text_is_cut_at_the_last_sentence_that_fits_else_at_a_comma_else_between_words_else_anywhere() -> None:
    assert pieces_of("One. Two, three. Four five.", 18) == ["One. Two, three.", "Four five."]
    assert pieces_of("one, two three, four", 17) == ["one, two three,", "four"]
    assert pieces_of("one two three", 8) == ["one two", "three"]
    assert pieces_of("abcdefgh", 3) == ["abc", "def", "gh"]


def test_text_without_anything_to_speak_is_nothing() -> None:
    assert pieces_of(" ... -- ", 100) == []


@given(st.text(), st.integers(1, 50))
def test_pieces_fit_and_nothing_that_is_spoken_is_lost(text: str, limit: int) -> None:
    pieces = pieces_of(text, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert [c for piece in pieces for c in piece if c.isalnum()] == [c for c in text if c.isalnum()]
