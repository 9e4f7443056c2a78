"""How a prompt is written for a chat server or a small model. Pure.

The messages are those of https://platform.openai.com/docs/api-reference/chat.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agentd.agent import ToolDeclaration
from agentd.parsing import load_json
from agentd_providers.openai.returned import ID, is_own, unsealed
from agentd_providers.openai.ways import Ways
from agentd_providers.pipeline.stages import Message, Role, ToolCall

TRANSCRIPT_EXAMPLES = (
    "Caller: Hello, who is this?\n"
    "Assistant: I am the assistant of this telephone line, how can I help you?\n"
    "Caller: Thank you very much.\n"
    "Assistant: You are welcome!\n"
)
"""The instructions that make a small model answer as one side of a call, and stop after it."""


def transcript(messages: Sequence[Message]) -> str:
    """The conversation as a written dialogue that the model goes on with."""
    system = " ".join(message.text for message in messages if message.role is Role.SYSTEM)
    lines = []
    tools: dict[str, str] = {}
    for message in messages:
        text = " ".join(message.text.split())
        match message.role:
            case Role.USER:
                lines.append(f"Caller: {text}\n")
            case Role.ASSISTANT:
                tools |= {call.call: call.name for call in message.calls}
                lines += [f"Assistant: {text}\n"] if text else []
            case Role.TOOL:
                lines.append(f"({tools.get(message.call, 'tool')}: {text})\n")
    return f"{' '.join(system.split())}\n\n{TRANSCRIPT_EXAMPLES}{''.join(lines)}Assistant:"


def last_words(messages: Sequence[Message]) -> Sequence[Message]:
    """What the agent said last, and the caller after it: enough to tell whether a sentence ends, and soon read."""
    spoken = [message for message in messages if message.role in (Role.USER, Role.ASSISTANT) and message.text]
    return spoken[-2:]


def chat(messages: Sequence[Message], server: str = "", ways: Ways | None = None) -> list[dict[str, Any]]:
    """The conversation as messages with roles, for `server`, by what it takes."""
    ways = ways or Ways()
    written: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    told: dict[str, ToolCall] = {}
    for message in messages:
        if message.calls and ways.strange_tools_told and not all(is_own(call, server) for call in message.calls):
            told |= {call.call: call for call in message.calls}
            if message.text:
                written.append({"role": message.role.value, "content": message.text})
        elif message.calls:
            written.append(_asking(message, server, ways, names))
        elif message.role is Role.TOOL and (call := told.get(message.call)) is not None:
            note = f"(The tool {call.name} was used, with {_sound(call.arguments)}. It gave: {message.text})"
            _say(written, note, joined=True)
        elif message.role is Role.TOOL:
            called = names.get(message.call, message.call)
            written.append({"role": message.role.value, "content": message.text, "tool_call_id": called})
        elif message.role is Role.USER:
            _say(written, message.text, joined=bool(told))
        else:
            written.append({"role": message.role.value, "content": message.text})
    if ways.pads_thoughts:
        for one in written:
            if one["role"] == Role.ASSISTANT.value:
                one.setdefault("reasoning_content", "")
    return written


def _say(written: list[dict[str, Any]], text: str, *, joined: bool) -> None:
    """Words of the caller's; `joined`: to those before, for some templates refuse two messages of one side."""
    if joined and written and written[-1]["role"] == Role.USER.value:
        written[-1]["content"] += f" {text}"
    else:
        written.append({"role": Role.USER.value, "content": text})


def _asking(message: Message, server: str, ways: Ways, names: dict[str, str]) -> dict[str, Any]:
    """A message that asks for tools, as it came where it came from `server`. `names` gets the calls' names there."""
    calls: list[dict[str, Any]] = []
    of_message: Mapping[str, Any] = {}
    taken: set[object] = set()
    for call in message.calls:
        extras, of_message = unsealed(call.sealed, server)
        name = extras.get(ID)
        names[call.call] = name = name if isinstance(name, str) and name not in taken else call.call
        taken.add(name)
        function = {"name": call.name, "arguments": _sound(call.arguments)}
        kept = {field: value for field, value in extras.items() if field != ID and field not in ways.without}
        calls.append({"id": name, "type": "function", "function": function, **kept})
    kept = {field: value for field, value in of_message.items() if field not in ways.without}
    return {"role": message.role.value, "content": message.text or None, "tool_calls": calls, **kept}


def _sound(arguments: str) -> str:
    """The arguments that a model wrote, if they are an object: servers whose templates read them refuse all else."""
    try:
        read = load_json(arguments)
    except ValueError:
        return "{}"
    return arguments if isinstance(read, dict) else "{}"


def declared(tools: Sequence[ToolDeclaration]) -> list[dict[str, Any]]:
    """The tools as a request declares them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]
