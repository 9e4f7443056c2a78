"""Halves of surrogate pairs: what no encoding can write is never handed on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.parsing import load_json, mended
from agentd_providers.vendor.surrogates import PieceMender, mended_json

ANY_TEXT = st.text(st.characters(categories=None) | st.characters(categories=["Cs"]))
"""Also such as holds halves, alone and in pairs."""
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", ""),
        ("Größe 😀", "Größe 😀"),
        ("\ud83d\ude00", "😀"),
        ("a\ud83db", "a�b"),
        ("\ude00\ud83d", "��"),
        ("\ud83d\ud83d\ude00", "�😀"),
    ],
)
def test_halves_that_meet_are_a_character_and_a_half_alone_is_the_replacement_character(text: str, whole: str) -> None:
    assert mended(text) == whole


@given(ANY_TEXT)
def test_every_text_can_be_written_and_what_could_be_is_unchanged(text: str) -> None:
    whole = mended(text)
    whole.encode()
    assert mended(whole) == whole
    try:
        text.encode()
    except UnicodeEncodeError:
        assert whole != text
    else:
        assert whole == text


@given(ANY_TEXT, st.lists(st.integers(0, 100)))
def test_a_text_in_pieces_is_mended_as_if_it_had_come_whole(text: str, cuts: list[int]) -> None:
    mender, begin, said = PieceMender(), 0, ""
    for end in [*sorted(cuts), len(text)]:
        said += (piece := mender.feed(text[begin:end]))
        piece.encode()
        begin = max(begin, end)
    assert said + mender.flush() == mended(text)
    assert mender.flush() == ""


@given(ANY_JSON, st.booleans())
def test_json_holds_what_it_held_with_every_text_mended(value: object, ascii_only: bool) -> None:
    expected = json.loads(mended(json.dumps(value, ensure_ascii=False)))
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert load_json(text) == expected
    assert json.loads(mended_json(text)) == expected
    json.dumps(load_json(text), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text", ["", "no JSON \\ud83d", "[" * 100_000 + '"\\ud83d"', "[" * 400 + '"\\ud83d"' + "]" * 400]
)
def test_what_is_no_json_stays_as_it_is_and_parsing_it_raises(text: str) -> None:
    assert mended_json(text) == text
    with pytest.raises(ValueError):
        load_json(text)


@pytest.mark.parametrize("text", [r'{"a": "\ud83d\ude00"}', r'["\\ud83d"]', '{"a":  "😀"}'])
def test_json_that_names_whole_characters_stays_as_it_is(text: str) -> None:
    assert mended_json(text) == text


def test_an_escaped_backslash_is_no_escaped_half() -> None:
    assert load_json(r'"\\ud83d"') == r"\ud83d"
