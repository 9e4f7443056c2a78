"""Texts of others: how deep they may be nested is our own count, whatever the interpreter would take."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.rendering import toml_value
from agentd.parsing import DEEPEST, NestedTooDeeply, Nesting, load_json, load_toml

TEXT = st.text() | st.text("[]{}\"\\\n #'")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)
NEST: tuple[tuple[str, str], ...] = (
    ("[", "]"),
    ('{"a": ', "}"),
    ('[0, "]]", ', "]"),
    ('{"{": "\\"[", "b": [], "a": ', "}"),
)
"""What stands around something that is one deeper: plain, and with brackets that count for nothing."""


def depth(value: object) -> int:
    match value:
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case list():
            return 1 + max(map(depth, value), default=0)
    return 0


def nested(levels: int, ways: list[tuple[str, str]], inside: str = "7") -> str:
    chosen = [ways[level % len(ways)] for level in range(levels)]
    return "".join(begin for begin, _ in chosen) + inside + "".join(end for _, end in reversed(chosen))


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_json_holds_what_it_held(value: object, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert load_json(text) == value
    assert load_json(text.encode("utf-8", "replace")) == json.loads(text.encode("utf-8", "replace"))


@given(JSON, st.sampled_from([None, 1]), st.lists(st.integers(0, 300)))
def test_the_depth_of_json_in_pieces_is_counted_as_it_is(value: object, indent: int | None, cuts: list[int]) -> None:
    text, nesting, begin, deepest = json.dumps([value], indent=indent), Nesting(), 0, 0
    for end in [*sorted(cuts), *range(max(cuts, default=0), len(text) + 1)]:
        nesting.feed(text[begin:end])
        begin, deepest = max(begin, end), max(deepest, nesting.depth)
    assert nesting.depth == 0
    assert deepest <= depth([value])
    if not cuts:  # then it was looked at after each character
        assert deepest == depth([value])


@given(st.lists(st.sampled_from(NEST), min_size=1, max_size=4), st.integers(1, 3))
def test_json_is_taken_to_the_bound_and_no_further(ways: list[tuple[str, str]], more: int) -> None:
    assert depth(load_json(nested(DEEPEST - 1, ways, "[]"))) == DEEPEST
    with pytest.raises(NestedTooDeeply, match=f"more than {DEEPEST} lists or tables"):
        load_json(nested(DEEPEST + more, ways))


@given(st.lists(st.sampled_from(NEST), min_size=1, max_size=4), st.lists(st.integers(0, 2000), max_size=20))
def test_json_that_comes_in_pieces_is_refused_wherever_it_is_cut(ways: list[tuple[str, str]], cuts: list[int]) -> None:
    text, nesting, begin = nested(DEEPEST + 1, ways), Nesting(), 0
    with pytest.raises(NestedTooDeeply):
        for end in [*sorted(cuts), len(text)]:
            nesting.feed(text[begin:end])
            begin = max(begin, end)


@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"a":' * 1_000_000, "[" * 1_000_000 + "]" * 1_000_000])
def test_no_depth_reaches_the_parser_or_whoever_walks_over_the_result(text: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(NestedTooDeeply):
            load_json(form)


@given(st.text('[]{}"\\\r\n:a ', max_size=300))
def test_no_text_hides_depth_behind_what_is_no_json(text: str) -> None:
    """Lines of a stream that are no JSON, and half a string before the end of a line, change nothing."""
    nesting = Nesting()
    nesting.feed(text.replace("[", "").replace("{", "") + "\n")
    with pytest.raises(NestedTooDeeply):
        nesting.feed("data: [" + "[\n" * DEEPEST)


@pytest.mark.parametrize("text", ["", "nonsense", "[", "[1,]", '"' + "\n" + '"', "\\[", "]" * 100, "[" * 10 + '"\\'])
def test_what_is_no_json_raises_what_the_parser_does(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        load_json(text)


def test_bytes_are_utf_8() -> None:
    assert load_json('\ufeff["é"]'.encode()) == ["é"]
    with pytest.raises(ValueError, match="utf-8"):
        load_json(b'"\xff"')


def test_a_long_text_of_many_small_lists_is_not_deep() -> None:
    assert load_json(json.dumps([[{}]] * 10_000)) == [[{}]] * 10_000


def test_json_that_is_full_of_escapes_and_quotes_is_read_in_one_pass() -> None:
    """A search that goes back for each quote would take hours."""
    for text in ('["' + '\\"' * 500_000, '"' * 500_001, "\\" * 500_001):
        Nesting().feed(text)


def test_the_numbers_are_read_by_who_asks() -> None:
    def refuse(name: str) -> Any:
        raise ValueError(name)

    with pytest.raises(ValueError, match="NaN"):
        load_json("[NaN]", parse_constant=refuse)
    assert load_json("[1.50]", parse_float=str) == ["1.50"]


# --- TOML

TOML_VALUES = st.recursive(st.booleans() | st.integers(0, 9) | TEXT, lambda inner: st.lists(inner, max_size=4))


@given(st.dictionaries(st.text("abc", min_size=1), TOML_VALUES, max_size=4))
def test_toml_holds_what_it_held(tables: dict[str, Any]) -> None:
    lines = [f"{name} = {toml_value(value)}  # [[[ {{ \"'" for name, value in tables.items()]
    assert load_toml("\n".join(lines)) == tables


@pytest.mark.parametrize(
    "around",
    [
        "'''\n{}'''",
        '"""\n{}"""',
        '"""\\"{}""""',
        "'{}'",
        '"{}"',
        '"\\"{}"',
        '""  # {}',
        "''''{}'''''",
        "''  # \" ''' {}\n",
    ],
)
def test_brackets_in_strings_and_comments_are_no_depth(around: str) -> None:
    text = "a = " + around.format("[" * 1000) + "\nb = [1]"
    assert load_toml(text) == tomllib.loads(text)
    with pytest.raises(NestedTooDeeply):
        load_toml(text + "\nc = " + "[" * 1000)


@pytest.mark.parametrize(
    ("begin", "end"), [("[", "]"), ("{a = ", "}"), ("{a.b.c = ", "}"), ("['''[''', \"\\\"\",\n", "]")]
)
def test_toml_is_taken_to_the_bound_and_no_further(begin: str, end: str) -> None:
    levels = 1
    while True:
        text = "x = " + begin * levels + "7" + end * levels
        deep = depth(tomllib.loads(text))
        if deep > DEEPEST:
            break
        assert depth(load_toml(text)) == deep
        levels += 1
    with pytest.raises(NestedTooDeeply):
        load_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 9000 + " = 1",
        "[a" + ".a" * 9000 + "]",
        "'[' . \"a\".b" + " . 'x'" * 9000 + " = 1",
        "x = " + "[" * 100_000,
        "x = " + "{a=" * 100_000,
    ],
)
def test_no_depth_of_toml_ends_in_the_interpreter_s_limit(text: str) -> None:
    with pytest.raises(NestedTooDeeply):
        load_toml(text)


def test_a_file_of_many_short_keys_and_numbers_is_not_deep() -> None:
    text = "\n".join(f"[a.b.c{number}]\nx.y = [1.5, 2.5, 07:32:00.999, '.......']  # 1.2.3" for number in range(200))
    assert load_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize("text", ["a", "a = [", 'a = "\n[', "a = '", 'a = """', "a = '''["])
def test_what_is_no_toml_raises_what_the_parser_does(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        load_toml(text)


# --- halves of characters

ANY_TEXT = st.text(st.characters(categories=None) | st.characters(categories=["Cs"]))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
)


@given(ANY_JSON, st.booleans())
def test_no_json_brings_what_no_encoding_can_write(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    whole = load_json(text)
    json.dumps(whole, ensure_ascii=False).encode()
    try:
        strict = load_json(text, mend=False)
    except ValueError:
        assert whole != json.loads(text)
    else:
        assert strict == whole == json.loads(text)


@pytest.mark.parametrize("text", ['x = "\\ud800"', 'x = "\\udfff"', '"\\ud83d" = 1', "x = " + "9" * 5000])
def test_toml_that_names_half_a_character_or_a_number_without_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        load_toml(text)


@given(st.text(st.characters(categories=["Cs"]) | st.sampled_from("[]{}.=\"'#\\n \\ud8x1"), max_size=60))
def test_whatever_toml_is_it_is_taken_or_refused(text: str) -> None:
    try:
        load_toml(text)
    except ValueError:
        pass
