"""How a prompt is written for a chat server or a small model."""

from agentd.agent import ToolDeclaration
from agentd_providers.openai.chat_forms import (
    TRANSCRIPT_EXAMPLES,
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
