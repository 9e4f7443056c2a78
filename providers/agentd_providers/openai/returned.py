"""What comes back of a reply goes back with it: a server's own names and fields of tool calls, sealed. Pure.

Gemini refuses a function call whose `thought_signature` is missing, DeepSeek and Kimi one whose message lacks its
`reasoning_content`; LiteLLM hides signatures in a call's id, and Kimi's models read theirs. A signature stands in the
first of the calls that were asked for together, so they stay together. Words without tools are not sealed: no server
wants anything back with them (DeepSeek's rule as it was tried out: experientiallabs/experiential#890).
"""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from agentd.history import Sealed
from agentd.parsing import load_json, mended
from agentd_providers.openai.tool_deltas import WholeCall
from agentd_providers.pipeline.stages import ToolCall

LARGEST = 65_536
"""Characters of what is sealed of a message, and of a call."""
ID = "id"
_replies = count(1)


def sealed_calls(calls: Sequence[WholeCall], message: Mapping[str, Any], server: str) -> list[ToolCall]:
    """The calls of one reply of `server`; `message` are the fields that it wants back with all of them."""
    reply, whole = f"reply{next(_replies)}", _json(message)
    made = []
    for number, call in enumerate(calls):
        own = _json({ID: call.call, **call.extras} if call.call else call.extras)
        made.append(
            ToolCall(call.call or f"call_{number}", call.name, call.arguments, Sealed(server, reply, own, whole))
        )
    return made


def is_own(call: ToolCall, server: str) -> bool:
    """Whether `server` has asked for this."""
    return call.sealed is not None and call.sealed.server == server


def unsealed(sealed: Sealed | None, server: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The fields of a call, and those of its message, as this server sent them; none where another one did."""
    if sealed is None or sealed.server != server:
        return {}, {}
    return _read(sealed.call), _read(sealed.message)


def _json(fields: Mapping[str, Any]) -> str:
    text = mended(json.dumps(fields, ensure_ascii=False)) if fields else ""
    return text if len(text) <= LARGEST else ""


def _read(text: str) -> Mapping[str, Any]:
    value = load_json(text) if text else {}
    assert isinstance(value, dict)
    return value
