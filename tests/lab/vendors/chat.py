"""An OpenAI-compatible chat server on loopback: strict about what it is asked, it streams as one of several does.

The requests, the messages' order and the streamed chunks: https://platform.openai.com/docs/api-reference/chat and
openai-openapi's CreateChatCompletionRequest; what is refused: chat_refusals.py. How others stream tool calls:
ollama/ollama, openai/openai.go and its issues 7881 (no index) and 15457 (index 0 for all of them);
https://docs.vllm.ai/en/latest/features/tool_calling/.
"""

import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import attrs
import trio

from .chat_refusals import Kind, Refused, check
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
SIGNATURE, THOUGHT = "AY89a18IwQ==", "What could be meant?"


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


@attrs.define(eq=False)
class ChatServer:
    """`replies` are the pieces of the model's replies by the content of the last message; others get `reply`, or,
    where there is none, an echo."""

    key: str = KEY
    model: str = "fake-1"
    shutdown_date: str | None = None
    """The day on which its model ends, as it tells with the list of its models."""
    dialect: Dialect = Dialect.PIECES
    kind: Kind = Kind.PLAIN
    takes_tools: bool = True
    context: int = 128_000
    """Tokens that it reads."""
    replies: dict[str, Sequence[str | Asked]] = attrs.field(factory=dict)
    streams: dict[str, Sequence[bytes | float]] = attrs.field(factory=dict)
    """Bodies in pieces, sent as they are in place of a reply, by the content of the last message; a number is a pause
    in seconds."""
    ends: Mapping[str, float] | None = None
    """How likely a sentence ends, by the last words of a completion's prompt, told as vLLM does; None: it has no
    completions."""
    completions: list[str] = attrs.field(factory=list)
    """The prompts of those that were asked for."""
    reply: Sequence[str | Asked] = ()
    delay: float = 0.0
    """Seconds until a reply begins."""
    asked: list[Mapping[str, Any]] = attrs.field(factory=list)
    """The bodies of the requests that were good."""
    refused: list[str] = attrs.field(factory=list)
    """Why others were not."""
    lessons: list[str] = attrs.field(factory=list)
    """Why some had to be asked in another way."""

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
                    body = check(
                        request.json(), self.model, self.kind, takes_tools=self.takes_tools, context=self.context
                    )
                except Refused as error:
                    (self.lessons if error.lesson else self.refused).append(str(error))
                    await exchange.answer(error.status, error.body)
                    return
                self.asked.append(body)
                await self._stream(exchange, body)
            case "POST", "/v1/completions" if self.ends is not None:
                await self._complete(exchange, request.json())
            case _:
                await exchange.answer(404, {"error": {"message": f"Unknown request URL: {request.path}"}})

    # --- what is answered

    async def _complete(self, exchange: HttpExchange, body: Mapping[str, Any]) -> None:
        """One token, with the likeliest: as a chunk of vLLM (vllm/entrypoints/openai, CompletionStreamResponse), which
        refuses to tell of more than 20."""
        if unknown := set(body) - {"model", "prompt", "max_tokens", "temperature", "logprobs", "stream"}:
            self.refused.append(f"unknown fields of a completion: {unknown}")
        if body["logprobs"] > 20:
            self.refused.append("more than --max-logprobs")
        assert self.ends is not None
        self.completions.append(body["prompt"])
        ends = next((share for words, share in self.ends.items() if body["prompt"].endswith(words)), 0.5)
        tokens = {".": math.log(ends), " the": math.log(1 - ends)}
        logprobs = {"text_offset": [0], "token_logprobs": [0.0], "tokens": ["."], "top_logprobs": [tokens]}
        chunk = {"id": "1", "object": "text_completion", "created": 1, "model": self.model}
        choice = {"index": 0, "text": ".", "logprobs": logprobs, "finish_reason": "length", "stop_reason": None}
        await exchange.begin(content_type="text/event-stream")
        await exchange.send(f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode())
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

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
        if self.kind is Kind.THINKING:
            await self._chunk(exchange, {"content": None, "reasoning_content": THOUGHT})
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
        whole: dict[str, Any] = {
            "id": call,
            "type": "function",
            "function": {"name": asked.name, "arguments": arguments},
        }
        if self.kind is Kind.SIGNING and not number:
            whole["extra_content"] = {"google": {"thought_signature": SIGNATURE}}
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


@asynccontextmanager
async def open_chat_server(server: ChatServer | None = None) -> AsyncIterator[tuple[ChatServer, HttpPeer]]:
    """A chat server (`server`: one with settings of its own) and its peer, which takes the faults."""
    server = server or ChatServer()
    async with open_http_peer(server.handle, HttpPeer(refusals=REFUSALS)) as peer:
        yield server, peer
