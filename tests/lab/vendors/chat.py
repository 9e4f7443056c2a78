"""An OpenAI-compatible chat server on loopback: strict about what it is asked, it streams as one of several does.

The requests, the messages' order and the streamed chunks: https://platform.openai.com/docs/api-reference/chat and
openai-openapi's CreateChatCompletionRequest. How others stream tool calls: ollama/ollama, openai/openai.go and
its issues 7881 (no index) and 15457 (index 0 for all of them); https://docs.vllm.ai/en/latest/features/tool_calling/.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import attrs
import trio

from .http_peer import HttpExchange, HttpPeer, open_http_peer
from .model_list import model_list

KEY = "sk-fake-0123456789"


def _refusal(message: str, code: str | None) -> bytes:
    return json.dumps({"error": {"message": message, "type": "error", "param": None, "code": code}}).encode()


REFUSALS: Mapping[int, bytes] = {
    401: _refusal(f"Incorrect API key provided: {KEY}. You can find your API key at ...", "invalid_api_key"),
    429: _refusal("Rate limit reached for requests", "rate_limit_exceeded"),
    503: _refusal("The server is overloaded", None),
}
FIELDS = {
    "model", "messages", "stream", "stream_options", "temperature", "max_tokens", "max_completion_tokens", "tools",
    "tool_choice", "parallel_tool_calls", "reasoning_effort",
}  # fmt: skip
MESSAGE_FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}


class Dialect(StrEnum):
    """How tool calls are streamed."""

    PIECES = "pieces"
    """OpenAI, vLLM, llama.cpp: id and name once, arguments in pieces, by index."""
    WHOLE = "whole"
    """Ollama: each call in a chunk of its own."""
    NO_INDEX = "no index"
    """Ollama before 0.4.7; its streams end in "stop"."""
    ZERO_INDEX = "zero index"
    """Ollama for a time: index 0 for every call."""
    BARE = "bare"
    """Neither id nor index, and the arguments as an object."""


@attrs.frozen
class Asked:
    """A tool call that the model makes."""

    name: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)


UNANSWERED = "an assistant message with 'tool_calls' must be followed by tool messages responding to each of them"


class Refused(Exception):
    """The request is wrong: told as HTTP 400."""


@attrs.define(eq=False)
class ChatServer:
    """`replies` are the pieces of the model's replies by the content of the last message; others get `reply`, or,
    where there is none, an echo."""

    key: str = KEY
    model: str = "fake-1"
    shutdown_date: str | None = None
    """The day on which its model ends, as it tells with the list of its models."""
    dialect: Dialect = Dialect.PIECES
    takes_tools: bool = True
    replies: dict[str, Sequence[str | Asked]] = attrs.field(factory=dict)
    streams: dict[str, Sequence[bytes | float]] = attrs.field(factory=dict)
    """Bodies in pieces, sent as they are in place of a reply, by the content of the last message; a number is a pause
    in seconds."""
    reply: Sequence[str | Asked] = ()
    delay: float = 0.0
    """Seconds until a reply begins."""
    asked: list[Mapping[str, Any]] = attrs.field(factory=list)
    """The bodies of the requests that were good."""
    refused: list[str] = attrs.field(factory=list)
    """Why others were not."""

    async def handle(self, exchange: HttpExchange) -> None:
        """Answer one request."""
        request = exchange.request
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            self.refused.append("wrong key")
            await exchange.answer(401, REFUSALS[401])
            return
        match request.method, request.path:
            case "GET", "/v1/models":
                await exchange.answer(200, model_list({self.model: self.shutdown_date}))
            case "POST", "/v1/chat/completions":
                try:
                    body = self._checked(request.json())
                except Refused as error:
                    self.refused.append(str(error))
                    await exchange.answer(400, {"error": {"message": str(error), "type": "invalid_request_error"}})
                    return
                self.asked.append(body)
                await self._stream(exchange, body)
            case _:
                await exchange.answer(404, {"error": {"message": f"Unknown request URL: {request.path}"}})

    # --- what is asked

    def _checked(self, body: Any) -> Mapping[str, Any]:
        if not isinstance(body, dict):
            raise Refused("the body is no object")
        if unknown := set(body) - FIELDS:
            raise Refused(f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}")
        if body.get("model") != self.model:
            raise Refused(f"The model `{body.get('model')}` does not exist")
        if body.get("stream") is not True:
            raise Refused("this fake only streams")
        if "tools" in body:
            self._check_tools(body["tools"])
        check_messages(body.get("messages"))
        return body

    def _check_tools(self, tools: Any) -> None:
        if not self.takes_tools:
            raise Refused('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
        if not isinstance(tools, list) or not tools:
            raise Refused("[] is too short - 'tools'")
        for tool in tools:
            function = tool.get("function", {})
            if set(tool) != {"type", "function"} or set(function) - {"name", "description", "parameters", "strict"}:
                raise Refused("a tool with fields that it does not have")
            if function.get("parameters", {}).get("type") != "object":
                raise Refused("Invalid schema for function: schema must be a JSON Schema of 'type: \"object\"'")

    # --- what is answered

    async def _stream(self, exchange: HttpExchange, body: Mapping[str, Any]) -> None:
        last = body["messages"][-1]["content"]
        pieces = self.replies.get(last) or self.reply or ["You said ", f"{last}."]
        await trio.sleep(self.delay)
        await exchange.begin(content_type="text/event-stream")
        if (stream := self.streams.get(last)) is not None:
            for sent in stream:
                if isinstance(sent, bytes):
                    await exchange.send(sent)
                else:
                    await trio.sleep(sent)
            await exchange.end()
            return
        await self._chunk(exchange, {"role": "assistant", "content": None})
        number = 0
        for piece in pieces:
            if isinstance(piece, str):
                await self._chunk(exchange, {"content": piece})
            else:
                for delta in self._call(number, piece):
                    await self._chunk(exchange, {"tool_calls": [delta]})
                number += 1
        finish = "tool_calls" if number and self.dialect is not Dialect.NO_INDEX else "stop"
        await self._chunk(exchange, {}, finish)
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

    def _call(self, number: int, asked: Asked) -> list[dict[str, Any]]:
        arguments, call = json.dumps(asked.arguments), f"call_{number}abc"
        whole = {"id": call, "type": "function", "function": {"name": asked.name, "arguments": arguments}}
        match self.dialect:
            case Dialect.WHOLE:
                return [{"index": number, **whole}]
            case Dialect.ZERO_INDEX:
                return [{"index": 0, **whole}]
            case Dialect.NO_INDEX:
                return [whole]
            case Dialect.BARE:
                return [{"function": {"name": asked.name, "arguments": dict(asked.arguments)}}]
            case Dialect.PIECES:
                begin = {"index": number, **whole, "function": {"name": asked.name, "arguments": ""}}
                pieces = [arguments[at : at + 3] for at in range(0, len(arguments), 3)]
                return [begin, *({"index": number, "function": {"arguments": piece}} for piece in pieces)]

    async def _chunk(self, exchange: HttpExchange, delta: Mapping[str, Any], finish: str | None = None) -> None:
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        await exchange.send(f"data: {json.dumps(chunk)}\n\n".encode())


def check_messages(messages: Any) -> None:
    """Each message's fields, and that every tool call is answered before anything else is said. Raises Refused."""
    if not isinstance(messages, list) or not messages:
        raise Refused("[] is too short - 'messages'")
    owed: set[str] = set()
    for number, message in enumerate(messages):
        role = message.get("role")
        if set(message) - MESSAGE_FIELDS.get(role, set()) or (role == "system" and number):
            raise Refused(f"messages[{number}]: not a message: {sorted(message)} of role {role!r}")
        if role == "tool":
            if message.get("tool_call_id") not in owed or not isinstance(message.get("content"), str):
                raise Refused("messages with role 'tool' must be a response to a preceding message with 'tool_calls'")
            owed.discard(message["tool_call_id"])
            continue
        if owed:
            raise Refused("an assistant message with 'tool_calls' must be followed by tool messages responding to each")
        calls = message.get("tool_calls", [])
        if not isinstance(message.get("content"), str) and not calls:
            raise Refused(f"messages[{number}].content: expected a string")
        for call in calls:
            if set(call) != {"id", "type", "function"} or set(call["function"]) != {"name", "arguments"}:
                raise Refused(f"messages[{number}].tool_calls: not a call")
            json.loads(call["function"]["arguments"])
        owed = {call["id"] for call in calls}
        if len(owed) != len(calls):
            raise Refused("duplicate tool call ids")
    if owed:
        raise Refused(UNANSWERED)


@asynccontextmanager
async def open_chat_server(server: ChatServer | None = None) -> AsyncIterator[tuple[ChatServer, HttpPeer]]:
    """A chat server (`server`: one with settings of its own) and its peer, which takes the faults."""
    server = server or ChatServer()
    async with open_http_peer(server.handle, HttpPeer(refusals=REFUSALS)) as peer:
        yield server, peer
