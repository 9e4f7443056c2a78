"""What one model on one server takes: learnt from what it refuses, and never from its address or its name. Pure.

The protocol has two names for the longest reply, and parameters that some models refuse, each server with other words.
A refusal that names an optional part of the request is about that part: it is asked once more without it, or with its
other name, and so from then on. A refusal that names none of them stays one.
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from agentd_providers.openai.refusals import words_of

MOST_LESSONS = 6
"""Refused requests in a row that are tried again, each in another way."""
TOKENS = ("max_tokens", "max_completion_tokens")
"""The first is the older name, and the only one that many servers know: others pass over what they do not know, and a
reply without a limit is worse than one request that is refused. OpenAI's reasoning models take the second only."""
OPTIONAL = ("temperature", "reasoning_effort")
RETURNED = ("reasoning_content", "reasoning_details", "reasoning", "thinking_blocks", "extra_content")
RETURNED_OF_CALLS = ("extra_content", "provider_specific_fields", "thought_signature")

_WANTED = re.compile(r"must be passed|missing|is required|field required|must (be )?(include|provide|contain)", re.I)
_SIGNATURE = re.compile(r"thought_?signature", re.I)
_NAMED = {name: re.compile(rf"(?<!\w){name}(?!\w)") for name in (*TOKENS, *OPTIONAL, *RETURNED, *RETURNED_OF_CALLS)}
_EFFORT_OF_TOOLS = re.compile(r"tools?\b.*\breasoning_effort|reasoning_effort.*\btools?\b", re.I | re.S)


@attrs.define
class Ways:
    """One model's on one server."""

    tokens: str = TOKENS[0]
    """The name of the longest reply; empty: it takes none."""
    without: set[str] = attrs.field(factory=set)
    """Parameters, and fields of messages, that it refuses."""
    effort: str = ""
    """How much it is to think where that was refused as it is configured."""
    pads_thoughts: bool = False
    """It wants `reasoning_content` in every message of the assistant's; an empty one will do."""
    strange_tools_told: bool = False
    """It refuses tool calls that it has not made itself: what they gave is told in words."""
    closes_unopened: bool = False
    """It closes thoughts that it has not opened: its words wait for the closing tag."""
    _tried: set[str] = attrs.field(factory=set, init=False)

    def parameters(self, *, max_tokens: int, temperature: float, effort: str) -> dict[str, Any]:
        """The optional parameters of a request. `temperature` below 0 and an empty `effort` are not sent."""
        sent: dict[str, Any] = {}
        if self.tokens:
            sent[self.tokens] = max_tokens
        if temperature >= 0:
            sent["temperature"] = temperature
        if effort := self.effort or effort:
            sent["reasoning_effort"] = effort
        return {name: value for name, value in sent.items() if name not in self.without}

    def learn(self, status: int, body: Any, asked: Mapping[str, Any]) -> str:
        """A request was refused: gives what is done differently from now on, for people; empty: nothing can be.

        400 and 422 are a server's for a request that is wrong; some gateways pass them on as 404 or 500.
        """
        if status in (401, 402, 403, 408, 413, 429):
            return ""
        parameter = body.get("param") if isinstance(body, Mapping) else None
        words = f"{parameter if isinstance(parameter, str) else ''} {words_of(body)}"
        if _SIGNATURE.search(words) and not _refuses(words):
            return self._tell_strange_tools()
        if _NAMED["reasoning_content"].search(words) and _WANTED.search(words):
            if not self.pads_thoughts:
                self.pads_thoughts = True
                return "thoughts that are missing are sent empty"
            return self._tell_strange_tools()
        if "tools" in asked and _EFFORT_OF_TOOLS.search(words) and "none" in words and self.effort != "none":
            self.effort = "none"
            return "it is told not to think where it has tools"
        for name in (*TOKENS, *OPTIONAL):
            if name in asked and _NAMED[name].search(words):
                return self._leave(name)
        for name in (*RETURNED, *RETURNED_OF_CALLS):
            if name not in self.without and _NAMED[name].search(words) and _returned(name, asked):
                self.without.add(name)
                return f"{name} is not given back"
        return ""

    def _leave(self, name: str) -> str:
        if name in TOKENS:
            self._tried.add(name)
            self.tokens = next((other for other in TOKENS if other not in self._tried), "")
            return f"{self.tokens} is sent in place of {name}" if self.tokens else "no limit of tokens is sent"
        self.without.add(name)
        return f"{name} is not sent"

    def _tell_strange_tools(self) -> str:
        if self.strange_tools_told:
            return ""
        self.strange_tools_told = True
        return "what another model's tools gave is told in words"


def _refuses(words: str) -> bool:
    return (
        re.search(r"unknown|unexpected|unrecognized|not permitted|unsupported|not supported", words, re.I) is not None
    )


def _returned(name: str, asked: Mapping[str, Any]) -> bool:
    """Whether a request holds a field of messages."""
    for message in asked.get("messages", ()):
        if name in message or any(name in call for call in message.get("tool_calls", ())):
            return True
    return False
