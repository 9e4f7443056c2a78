"""How much of a conversation a model can read: its context, and the part of a prompt that fits into it. Pure.

A server's context is configured, or learnt from its refusal: each has a form of its own, see `refused_length`. Tokens
are estimated, since every model counts its own; a refusal that tells both numbers corrects the estimate.
"""

import math
import re
from collections.abc import Mapping, Sequence

import attrs

from agentd.agent import ToolDeclaration
from agentd_providers.pipeline.stages import Message, Role

BYTES_A_TOKEN = 3
"""Of UTF-8: English has about four, the scripts of Asia two or three. Too short a prompt beats a refused one."""
TOKENS_A_MESSAGE = 8
"""What a template adds to each message."""
MARGIN = 32
STEP = 0.25
"""The part of the context that is given up at a time: servers keep what they have read for as long as the prompt begins
the same, so a prompt that lost its oldest turn with every answer would be read anew with every answer."""
SHORTER = 0.75
"""The part of a refused prompt that is tried next where the server does not say what it takes."""

_TOO_LONG = re.compile(
    r"context (length|size|window|limit)|prompt is too long|too large for model|input token count"
    r"|too many (input )?tokens",
    re.I,
)
_LIMIT = re.compile(
    r"(?:context length (?:is|of|of only)|tokens allowed|tokens >|context size|context limit:.*>"
    r"|too large for model with)"
    r" *\(?(\d{2,8})",
    re.I,
)
_ASKED = re.compile(
    r"(\d{2,8}) in (?:the messages|your prompt)"
    r"|(?:contains(?: at least)?|resulted in|input token count|prompt is too long:|request) *\(?(\d{2,8})",
    re.I,
)


@attrs.frozen
class TooLong:
    """A server refused a prompt for its length. `limit` and `asked` are tokens; 0 where it does not tell."""

    limit: int = 0
    asked: int = 0


def refused_length(body: object) -> TooLong | None:
    """Whether the body of a refusal (parsed JSON) says that the prompt does not fit; None where it says something else.

    - OpenAI, Azure: `code` "context_length_exceeded", both numbers in the message
    - llama.cpp: `type` "exceed_context_size_error" with `n_ctx` and `n_prompt_tokens`; or 500 and a message
    - vLLM, SGLang: both numbers in the message, below `error` or on top
    - others: see tests/unit/openai/test_context.py, each with its source
    """
    told = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(told, Mapping):
        told = {"message": told}
    message = told.get("message")
    message = message if isinstance(message, str) else ""
    named = told.get("code") == "context_length_exceeded" or told.get("type") == "exceed_context_size_error"
    if not named and not _TOO_LONG.search(message):
        return None
    return TooLong(
        _count(told.get("n_ctx")) or _number(_LIMIT, message),
        _count(told.get("n_prompt_tokens")) or _number(_ASKED, message),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 10**8 else 0


def _number(pattern: re.Pattern[str], message: str) -> int:
    found = pattern.search(message)
    return int(next(filter(None, found.groups()))) if found else 0


@attrs.frozen
class Fitted:
    """A prompt that fits, as far as is known: about `tokens` long, with `left_out` of the oldest turns missing."""

    messages: Sequence[Message]
    tokens: int
    left_out: int = 0


@attrs.define(eq=False)
class ModelContext:
    """The context of one model on one server. `size` is in tokens, the reply among them; 0: not known."""

    size: int = 0
    _scale: float = attrs.field(default=1.0, init=False)
    """Tokens of the model for each that was estimated."""

    def fit(self, messages: Sequence[Message], tools: Sequence[ToolDeclaration], spare: int) -> Fitted:
        """The prompt without its oldest turns, where they and `spare` tokens (of the reply) are more than it holds.

        The system's messages stay, and everything from the caller's last words on, be it too long; a tool's result
        stays with the message that asked for it.
        """
        turns = _turns(messages)
        costs = [self._tokens(turn) for turn in turns]
        tools_cost = math.ceil(self._scale * sum(map(_declared, tools)))
        whole = sum(costs) + tools_cost
        room = self.size - spare - MARGIN
        if not self.size or whole <= room:
            return Fitted(messages, whole)
        step = max(int(self.size * STEP), 1)
        goal = math.ceil((whole - room) / step) * step
        kept, left_out, saved = [], 0, 0
        for turn, cost, droppable in zip(turns, costs, _droppable(turns), strict=True):
            if droppable and saved < goal:
                left_out, saved = left_out + 1, saved + cost
            else:
                kept += turn
        return Fitted(kept, whole - saved, left_out)

    def learn(self, refusal: TooLong, sent: Fitted) -> None:
        """A prompt was refused for its length: the next one is shorter."""
        if refusal.asked and sent.tokens:
            self._scale = max(self._scale, self._scale * refusal.asked / sent.tokens)
        if refusal.limit:
            self.size = min(self.size or refusal.limit, refusal.limit)
        else:
            self.size = max(int(min(self.size or sent.tokens, sent.tokens) * SHORTER), 1)

    def _tokens(self, turn: Sequence[Message]) -> int:
        return math.ceil(self._scale * sum(map(_message, turn)))


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """Messages that stay together: a tool's results with the message that asked for them."""
    turns: list[list[Message]] = []
    for message in messages:
        if message.role is Role.TOOL and turns:
            turns[-1].append(message)
        else:
            turns.append([message])
    return turns


def _droppable(turns: Sequence[Sequence[Message]]) -> list[bool]:
    last = max((at for at, turn in enumerate(turns) if turn[0].role is Role.USER), default=0)
    return [at < last and turn[0].role is not Role.SYSTEM for at, turn in enumerate(turns)]


def _message(message: Message) -> int:
    asked = sum(estimate(call.name) + estimate(call.arguments) + TOKENS_A_MESSAGE for call in message.calls)
    return TOKENS_A_MESSAGE + estimate(message.text) + asked


def _declared(tool: ToolDeclaration) -> int:
    return TOKENS_A_MESSAGE + estimate(tool.name) + estimate(tool.description) + estimate(str(tool.parameters))


def estimate(text: str) -> int:
    """About how many tokens a text has; rather too many."""
    return math.ceil(len(text.encode(errors="replace")) / BYTES_A_TOKEN)
