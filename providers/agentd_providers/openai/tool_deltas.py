"""The tool calls of one streamed reply, put together from its chunks. Pure.

OpenAI, vLLM and llama.cpp send a call's id and name once and its arguments in pieces, by `index`. Ollama and Gemini
send each call whole; some of their versions without an index, or with index 0 for all of them. Some servers send no id,
the name later than the call, each field again as null, or the arguments as an object; some send what was complete once
more.
`finish_reason` is not asked: with several servers a stream with calls ends in "stop". Sources of all of it are in
tests/field/test_model_streams.py.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from agentd.parsing import load_json, mended
from agentd_providers.vendor.surrogates import mended_json

MOST_CALLS = 32
LONGEST_NAME = 128
LONGEST_ID = 16_384
"""Characters: LiteLLM puts Gemini's signatures into the ids (BerriAI/litellm#18160)."""
LONGEST_ARGUMENTS = 16_000
"""Characters of a tool's arguments, and of the chunks of one reply that hold some."""
EXTRAS = ("extra_content", "provider_specific_fields", "thought_signature")
"""Further fields of a call that servers want back as they came."""


@attrs.frozen
class WholeCall:
    """A call as its server told it. `call` is its id, empty where it has none; `arguments` is the text of a JSON
    object; `extras` are fields that only the server knows."""

    call: str
    name: str
    arguments: str
    extras: Mapping[str, Any]


@attrs.define
class _Partial:
    index: int | None
    call: str
    name: str = ""
    arguments: str = ""
    extras: dict[str, Any] = attrs.field(factory=dict)

    @property
    def complete(self) -> bool:
        return self.arguments.rstrip().endswith("}") and _object(self.arguments) is not None


@attrs.define
class ToolDeltas:
    """One reply's. `names` are those of the tools that were offered: a name that comes in pieces is known by them."""

    names: Collection[str] = ()
    _calls: list[_Partial] = attrs.field(factory=list, init=False)
    _length: int = attrs.field(default=0, init=False)

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, deltas: object) -> None:
        """Take `delta.tool_calls` of a chunk. Raises ValueError or TypeError where it is none, or too large."""
        if not isinstance(deltas, Sequence) or isinstance(deltas, str | bytes):
            raise TypeError(f"expected a list of tool calls, not {type(deltas).__name__}")
        for delta in deltas:
            if delta is not None:
                self._take(delta)

    def _take(self, delta: Any) -> None:
        if not isinstance(delta, Mapping):
            raise TypeError(f"expected a tool call, not {type(delta).__name__}")
        function = delta.get("function")
        if not isinstance(function, Mapping | None):
            raise TypeError(f"expected a tool call's function, not {type(function).__name__}")
        function = function or {}
        index, call, name = delta.get("index"), delta.get("id") or "", function.get("name") or ""
        if not isinstance(index, int | None) or not isinstance(call, str) or not isinstance(name, str):
            raise TypeError("expected a tool call's index, id and name")
        arguments = _arguments(function.get("arguments"))
        partial = self._continued(index, call, name, arguments)
        if partial is None:
            if len(self._calls) == MOST_CALLS:
                raise ValueError("more tool calls than a reply may hold")
            partial = _Partial(index, call)
            self._calls.append(partial)
        partial.call = partial.call or call
        if name and name != partial.name:
            partial.name += name
        if not (partial.complete and _same(partial.arguments, arguments)):
            partial.arguments += arguments
        partial.extras |= {field: value for field in EXTRAS if (value := delta.get(field)) is not None}
        self._length += len(arguments)
        if len(partial.name) > LONGEST_NAME or len(partial.call) > LONGEST_ID:
            raise ValueError("a tool call's name or id is longer than any may be")
        if len(partial.arguments) > LONGEST_ARGUMENTS:
            raise ValueError(f"a tool's arguments are longer than {LONGEST_ARGUMENTS} characters")

    def _continued(self, index: int | None, call: str, name: str, arguments: str) -> _Partial | None:
        """The call that a chunk goes on with; None where it begins one."""
        if index is None:
            known = next((known for known in self._calls if call and known.call == call), None)
            if known is None and self._calls and not (call and self._calls[-1].call):
                known = self._calls[-1]
                if name and known.name:
                    return None
        else:
            known = next((known for known in reversed(self._calls) if known.index == index), None)
        if known is None:
            return None
        if call and known.call and call != known.call:
            # An id that comes anew with each piece of a call, and no name with it, is no other call's.
            return known if index is not None and not name and not known.complete else None
        if known.complete and arguments.strip():
            return known if _same(known.arguments, arguments) and not (name and not call) else None
        if name and known.name not in ("", name) and (known.name in self.names or known.name + name not in self.names):
            return None
        return known

    def whole(self) -> list[WholeCall]:
        """The calls, once the reply is complete. Raises ValueError where one has no name, or arguments that are no JSON
        object: as when the reply was cut without a word."""
        return [_whole(partial) for partial in self._calls if partial.name or partial.arguments]


def _whole(partial: _Partial) -> WholeCall:
    name = mended(partial.name.partition("<|")[0].strip())  # gpt-oss: "clock<|channel|>commentary"
    if not name:
        raise ValueError("it asks for a tool without a name")
    text = mended_json(partial.arguments.strip())
    if text in ("", "null"):
        text = "{}"
    if _object(text) is None:
        try:
            twice = load_json(text)
        except ValueError:
            twice = None
        if not isinstance(twice, str) or _object(twice) is None:
            raise ValueError(f"it asks for the tool {name} with arguments that are no whole JSON object")
        text = mended_json(twice.strip())
    return WholeCall(mended(partial.call), name, text, partial.extras)


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        value = load_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _same(one: str, other: str) -> bool:
    return bool(other.strip()) and _object(one) == _object(other) is not None


def _arguments(value: object) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"expected a tool's arguments, not {type(value).__name__}")
    return value
