"""How a prompt is written for a chat server or a small model, and a reply's tool calls are read. Pure.

The messages and the streamed chunks are those of https://platform.openai.com/docs/api-reference/chat; servers of one's
own differ in the chunks of tool calls, see `ToolCalls`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from agentd.agent import ToolDeclaration
from agentd.parsing import load_json, mended
from agentd_providers.pipeline.stages import Message, Role, ToolCall
from agentd_providers.vendor.surrogates import mended_json

TRANSCRIPT_EXAMPLES = (
    "Caller: Hello, who is this?\n"
    "Assistant: I am the assistant of this telephone line, how can I help you?\n"
    "Caller: Thank you very much.\n"
    "Assistant: You are welcome!\n"
)
"""The instructions that make a small model answer as one side of a call, and stop after it."""
MOST_CALLS = 32
LONGEST_NAME = 128
LONGEST_ARGUMENTS = 16_000
"""Characters of a tool's arguments, and of the chunks of one reply that hold some."""


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


def chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation as messages with roles."""
    return [_chat_message(message) for message in messages]


def _chat_message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role.value, "content": message.text}
    if message.calls:
        written["content"] = message.text or None
        written["tool_calls"] = [
            {"id": call.call, "type": "function", "function": {"name": call.name, "arguments": _sound(call.arguments)}}
            for call in message.calls
        ]
    if message.role is Role.TOOL:
        written["tool_call_id"] = message.call
    return written


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


@attrs.define
class _Partial:
    index: int | None
    call: str
    name: str
    arguments: str = ""


@attrs.define
class ToolCalls:
    """The tool calls of one streamed reply, put together from its chunks.

    OpenAI, vLLM and llama.cpp send a call's id and name once and its arguments in pieces, by `index`. Ollama sends each
    call whole; its older versions without an index, or with index 0 for all of them: another id is another call.
    Some servers send no id, or the arguments as an object. finish_reason is not asked: with several servers a stream
    with calls ends in "stop".
    """

    _calls: list[_Partial] = attrs.field(factory=list, init=False)

    def feed(self, deltas: object) -> None:
        """Take `delta.tool_calls` of a chunk. Raises ValueError or TypeError where it is none, or too large."""
        if not isinstance(deltas, Sequence):
            raise TypeError(f"expected a list of tool calls, not {type(deltas).__name__}")
        for delta in deltas:
            self._take(delta)

    def _take(self, delta: Any) -> None:
        function = _of(delta, "function")
        index, call, name = _of(delta, "index"), _of(delta, "id") or "", _of(function, "name") or ""
        if not isinstance(index, int | None) or not isinstance(call, str) or not isinstance(name, str):
            raise TypeError("expected a tool call's index, id and name")
        partial = self._continued(index, call, name)
        if partial is None:
            if len(self._calls) == MOST_CALLS or len(name) > LONGEST_NAME or len(call) > LONGEST_NAME:
                raise ValueError("more tool calls, or a longer name, than a reply may hold")
            if not name:
                raise ValueError("a tool call without a name")
            partial = _Partial(index, call, name)
            self._calls.append(partial)
        partial.arguments += _arguments(_of(function, "arguments"))
        if len(partial.arguments) > LONGEST_ARGUMENTS:
            raise ValueError(f"a tool's arguments are longer than {LONGEST_ARGUMENTS} characters")

    def _continued(self, index: int | None, call: str, name: str) -> _Partial | None:
        """The call that a chunk goes on with; None where it begins one."""
        if index is None:
            known = next((known for known in self._calls if call and known.call == call), None)
            return known if known or name or not self._calls else self._calls[-1]
        known = next((known for known in reversed(self._calls) if known.index == index), None)
        begins = known is not None and name and call and call != known.call
        return None if begins else known

    def whole(self) -> list[ToolCall]:
        """The calls, once the reply is complete."""
        return [
            ToolCall(
                mended(partial.call) or f"call_{number}",
                mended(partial.name),
                mended_json(partial.arguments.strip()) or "{}",
            )
            for number, partial in enumerate(self._calls)
        ]


NO_CHUNK = (ValueError, TypeError, AttributeError, LookupError)
"""What `words_of` raises where a chunk is none."""


def words_of(chunk: Any, calls: ToolCalls, written: bool) -> str:
    """The words of a streamed chunk; its share of tool calls goes to `calls`. `written`: it is a completion's, else a
    chat's.

    Raises one of `NO_CHUNK`: the openai client checks nothing of what it reads.
    """
    if not chunk.choices:
        return ""
    choice = chunk.choices[0]
    if written:
        words = choice.text or ""
    else:
        words = choice.delta.content or ""
        if requested := choice.delta.tool_calls:
            calls.feed(requested)
    if not isinstance(words, str):
        raise TypeError(f"expected words, not {type(words).__name__}")
    return words


def _of(value: Any, name: str) -> Any:
    """A field of what the client made of JSON: an object with attributes, or a mapping; None where it has none."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _arguments(value: object) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"expected a tool's arguments, not {type(value).__name__}")
    return value
