"""How a prompt is written for a chat server or a small model, and tool calls are read."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent import ToolDeclaration
from agentd_providers.openai.chat_forms import (
    LONGEST_ARGUMENTS,
    MOST_CALLS,
    TRANSCRIPT_EXAMPLES,
    ToolCalls,
    chat,
    declared,
    transcript,
)
from agentd_providers.pipeline.stages import Message, Role, ToolCall

USED = [
    Message(Role.SYSTEM, "Be brief."),
    Message(Role.USER, "What time is it?"),
    Message(Role.ASSISTANT, "", (ToolCall("c1", "clock", "{}"),)),
    Message(Role.TOOL, "five\no'clock", call="c1"),
    Message(Role.ASSISTANT, "It is five."),
]


def read(*deltas: Any) -> list[ToolCall]:
    calls = ToolCalls()
    for delta in deltas:
        calls.feed([delta])
    return calls.whole()


def delta(index: int | None, call: str | None, name: str | None, arguments: object) -> dict[str, Any]:
    given = {"index": index, "id": call, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in given.items() if value is not None}


# --- what is written


def test_a_tool_s_use_is_an_assistant_s_call_and_a_tool_s_message() -> None:
    assert chat(USED)[2:4] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "five\no'clock", "tool_call_id": "c1"},
    ]


def test_a_small_model_reads_of_a_tool_in_a_line_of_its_own() -> None:
    assert transcript(USED) == (
        f"Be brief.\n\n{TRANSCRIPT_EXAMPLES}Caller: What time is it?\n(clock: five o'clock)\n"
        "Assistant: It is five.\nAssistant:"
    )


def test_tools_are_declared_as_functions() -> None:
    schema = {"type": "object", "properties": {"zone": {"type": "string"}}}
    assert declared([ToolDeclaration("clock", "Tells the time.", schema)]) == [
        {"type": "function", "function": {"name": "clock", "description": "Tells the time.", "parameters": schema}}
    ]


# --- what is read


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=10), st.text(max_size=40)), min_size=1, max_size=5),
    st.integers(1, 7),
)
def test_however_the_arguments_are_cut_the_calls_are_the_same(calls: list[tuple[str, str]], size: int) -> None:
    deltas, expected = [], []
    for number, (name, value) in enumerate(calls):
        arguments = json.dumps({"value": value})
        deltas.append(delta(number, f"id{number}", name, ""))
        deltas += [delta(number, None, None, arguments[at : at + size]) for at in range(0, len(arguments), size)]
        expected.append(ToolCall(f"id{number}", name, arguments))
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
    assert read(*deltas) == [ToolCall("a", "clock", '{"x":1}'), ToolCall("b", "dial", "{}")]


def test_a_call_without_an_id_gets_one_and_arguments_may_be_an_object() -> None:
    calls = read(delta(None, None, "clock", {"x": 1}), delta(None, None, "clock", {"x": 2}))
    assert [call.arguments for call in calls] == ['{"x": 1}', '{"x": 2}']
    assert len({call.call for call in calls}) == 2


def test_calls_hold_whole_characters_only() -> None:
    halves = [
        delta(0, "a\ud83d", "clock\ude00", '{"x": "\ud83d'),
        delta(0, None, None, '\ude00", "y": "'),
        delta(0, None, None, r'\ud83d\ude00 \ud83d"}'),
    ]
    (call,) = read(*halves)
    assert (call.call, call.name) == ("a\ufffd", "clock\ufffd")
    assert json.loads(call.arguments) == {"x": "😀", "y": "😀 \ufffd"}
    assert chat([Message(Role.ASSISTANT, "", (call,))])[0]["tool_calls"][0]["function"]["arguments"] == call.arguments


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        {"index": 0},
        {"function": None},
        {"function": {"name": 7}},
        {"index": "0", "function": {"name": "x"}},
        {"id": [1], "function": {"name": "x"}},
        {"function": {"name": "x", "arguments": 7}},
        {"function": {"name": "x" * 1000}},
        {"function": {"name": "x", "arguments": "a" * (LONGEST_ARGUMENTS + 1)}},
        None,
        7,
        "text",
    ],
)
def test_what_is_no_tool_call_is_refused(hostile: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        ToolCalls().feed([hostile])


@pytest.mark.parametrize("hostile", [7, {"index": 0}, True])
def test_what_is_no_list_of_tool_calls_is_refused(hostile: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        ToolCalls().feed(hostile)


keys = st.sampled_from(["index", "id", "function", "name", "arguments"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
)


@given(st.lists(json_values, max_size=6))
def test_whatever_comes_it_is_calls_or_an_error_that_is_expected(deltas: list[Any]) -> None:
    calls = ToolCalls()
    try:
        for value in deltas:
            calls.feed(value)
    except (ValueError, TypeError):
        return
    assert all(call.name and call.call and isinstance(call.arguments, str) for call in calls.whole())


def test_calls_are_bounded() -> None:
    calls = ToolCalls()
    with pytest.raises(ValueError, match="more tool calls"):
        for number in range(MOST_CALLS + 1):
            calls.feed([delta(number, f"id{number}", "clock", "{}")])
