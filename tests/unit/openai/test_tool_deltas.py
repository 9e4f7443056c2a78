"""Tool calls are put together from what servers stream of them. The dialects that were seen are in tests/field."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.openai.returned import sealed_calls
from agentd_providers.openai.tool_deltas import LONGEST_ARGUMENTS, MOST_CALLS, ToolDeltas, WholeCall


def read(*deltas: Any) -> list[WholeCall]:
    calls = ToolDeltas()
    for delta in deltas:
        calls.feed([delta])
    return calls.whole()


def delta(index: int | None, call: str | None, name: str | None, arguments: object) -> dict[str, Any]:
    given = {"index": index, "id": call, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in given.items() if value is not None}


NAMES = st.text(min_size=1, max_size=10).filter(lambda name: name == name.strip() and "<|" not in name)


@given(
    st.lists(st.tuples(NAMES, st.text(max_size=40)), min_size=1, max_size=5),
    st.integers(1, 7),
)
def test_however_the_arguments_are_cut_the_calls_are_the_same(calls: list[tuple[str, str]], size: int) -> None:
    deltas, expected = [], []
    for number, (name, value) in enumerate(calls):
        arguments = json.dumps({"value": value})
        deltas.append(delta(number, f"id{number}", name, ""))
        deltas += [delta(number, None, None, arguments[at : at + size]) for at in range(0, len(arguments), size)]
        expected.append(WholeCall(f"id{number}", name, arguments, {}))
    assert read(*deltas) == expected


@pytest.mark.parametrize(
    "deltas",
    [
        [delta(0, "a", "clock", '{"x":1}'), delta(1, "b", "dial", "{}")],
        [delta(0, "a", "clock", '{"x":1}'), delta(0, "b", "dial", "{}")],
        [delta(None, "a", "clock", '{"x":1}'), delta(None, "b", "dial", "{}")],
        [delta(None, "a", "clock", '{"x"'), delta(None, None, None, ":1}"), delta(None, "b", "dial", "{}")],
        [delta(None, "a", "clock", '{"x"'), delta(None, "a", None, ":1}"), delta(None, "b", "dial", "")],
        [delta(0, "a", "clock", ""), delta(1, "b", "dial", "{}"), delta(0, None, None, '{"x":1}')],
        [delta(0, "a", "clock", '{"x"'), delta(0, "a", "clock", ":1}"), delta(1, "b", "dial", None)],
    ],
)
def test_the_calls_of_every_server_come_out_the_same(deltas: list[Mapping[str, Any]]) -> None:
    assert read(*deltas) == [WholeCall("a", "clock", '{"x":1}', {}), WholeCall("b", "dial", "{}", {})]


def test_a_call_without_an_id_gets_one_and_arguments_may_be_an_object() -> None:
    calls = read(delta(None, None, "clock", {"x": 1}), delta(None, None, "clock", {"x": 2}))
    assert [call.arguments for call in calls] == ['{"x": 1}', '{"x": 2}']
    assert len({call.call for call in sealed_calls(calls, {}, "")}) == 2


def test_calls_hold_whole_characters_only() -> None:
    halves = [
        delta(0, "a\ud83d", "clock\ude00", '{"x": "\ud83d'),
        delta(0, None, None, '\ude00", "y": "'),
        delta(0, None, None, r'\ud83d\ude00 \ud83d"}'),
    ]
    (call,) = read(*halves)
    assert (call.call, call.name) == ("a\ufffd", "clock\ufffd")
    assert json.loads(call.arguments) == {"x": "😀", "y": "😀 \ufffd"}


@pytest.mark.parametrize(
    "hostile",
    [
        {"function": {"name": 7}},
        {"index": "0", "function": {"name": "x"}},
        {"id": [1], "function": {"name": "x"}},
        {"function": {"name": "x", "arguments": 7}},
        {"function": {"name": "x" * 1000}},
        {"function": {"name": "x", "arguments": "a" * (LONGEST_ARGUMENTS + 1)}},
        7,
        "text",
    ],
)
def test_what_is_no_tool_call_is_refused(hostile: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        ToolDeltas().feed([hostile])


@pytest.mark.parametrize("empty", [None, {}, {"index": 0}, {"function": None}, {"function": {"name": None}}])
def test_what_is_empty_is_passed_over(empty: object) -> None:
    assert read(empty, delta(0, "a", "clock", "{}")) == [WholeCall("a", "clock", "{}", {})]


@pytest.mark.parametrize("hostile", [7, {"index": 0}, True])
def test_what_is_no_list_of_tool_calls_is_refused(hostile: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        ToolDeltas().feed(hostile)


keys = st.sampled_from(["index", "id", "function", "name", "arguments"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
)


@given(st.lists(json_values, max_size=6))
def test_whatever_comes_it_is_calls_or_an_error_that_is_expected(deltas: list[Any]) -> None:
    calls = ToolDeltas()
    try:
        for value in deltas:
            calls.feed(value)
        whole = calls.whole()
    except (ValueError, TypeError):
        return
    assert all(call.name and isinstance(json.loads(call.arguments), dict) for call in whole)


def test_calls_are_bounded() -> None:
    calls = ToolDeltas()
    with pytest.raises(ValueError, match="more tool calls"):
        for number in range(MOST_CALLS + 1):
            calls.feed([delta(number, f"id{number}", "clock", "{}")])
