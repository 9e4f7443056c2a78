"""An answer that nobody waits for any more: its connection is closed at once, whatever has come of it, for that is what
the server goes by; and llama.cpp's tells of what it reads, so that it notices."""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from agentd import deadlines
from agentd.agent import ToolDeclaration
from agentd.errors import ProviderUnavailable
from agentd.testing.clock import until
from agentd_providers.local import sentence_end
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.stages import CutShort, Message, Role
from tests.lab.vendors.http_peer import HttpExchange, HttpPeer, open_http_peer

pytestmark = pytest.mark.loopback

MESSAGES = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "I would like to")]
NO_TOOLS: list[ToolDeclaration] = []
Phase = Callable[[HttpExchange], Awaitable[None]]


def chunk(text: str, **more: Any) -> bytes:
    """A chunk of a completion, as llama.cpp's server sends it."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice], 'object': 'text_completion', **more})}\n\n".encode()


def read(tokens: int) -> bytes:
    """So many of the prompt's tokens have been read."""
    return chunk("", prompt_progress={"total": 300, "cache": 0, "processed": tokens, "time_ms": 10})


async def before_its_head(exchange: HttpExchange) -> None:
    await trio.sleep_forever()


async def behind_its_head(exchange: HttpExchange) -> None:
    await exchange.begin(content_type="text/event-stream")
    await trio.sleep_forever()


async def while_the_prompt_is_read(exchange: HttpExchange) -> None:
    await exchange.begin(content_type="text/event-stream")
    await exchange.send(read(64))
    await trio.sleep_forever()


async def in_the_middle(exchange: HttpExchange) -> None:
    await exchange.begin(content_type="text/event-stream")
    await exchange.send(read(300) + chunk(" Certainly,"))
    await trio.sleep_forever()


@attrs.define(eq=False)
class Served:
    responder: ChatResponder
    peer: HttpPeer

    async def reply(self) -> list[object]:
        async with self.responder.respond(MESSAGES) as pieces:
            return [piece async for piece in pieces]

    @property
    def body(self) -> Mapping[str, Any]:
        """Of the request that came last."""
        body: Mapping[str, Any] = self.peer.requests[-1].json()
        return body


@asynccontextmanager
async def serving(answer: Phase, *, transcript_style: bool = True, embedded: bool = True) -> AsyncIterator[Served]:
    with trio.fail_after(20):
        async with open_http_peer(answer) as peer:
            responder = ChatResponder(
                ChatSettings(base_url=peer.url, model="tiny"),
                lambda: (f"{peer.url}/v1", "a key"),
                transcript_style,
                embedded=embedded,
                ask_sentence_end=sentence_end.ask,
            )
            try:
                yield Served(responder, peer)
            finally:
                await responder.aclose()


@pytest.mark.parametrize("phase", [before_its_head, behind_its_head, while_the_prompt_is_read, in_the_middle])
@pytest.mark.parametrize("embedded", [True, False])
async def test_a_reply_that_is_given_up_closes_its_connection_at_once(phase: Phase, embedded: bool) -> None:
    async with serving(phase, embedded=embedded) as talk, trio.open_nursery() as nursery:
        nursery.start_soon(talk.reply)
        await until(lambda: talk.peer.answering)
        await trio.sleep(1)
        assert talk.peer.open
        given_up = trio.current_time()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await until(lambda: not talk.peer.open)
        assert trio.current_time() - given_up < 0.1


@pytest.mark.parametrize("phase", [before_its_head, behind_its_head, while_the_prompt_is_read])
async def test_a_cue_that_comes_too_late_closes_its_connection_at_once(phase: Phase) -> None:
    async with serving(phase) as talk:
        asked = trio.current_time()
        with pytest.raises(ProviderUnavailable, match="in time"):
            await talk.responder.sentence_end(MESSAGES)
        await until(lambda: not talk.peer.open)
        assert trio.current_time() - asked == pytest.approx(deadlines.SENTENCE_END.seconds, abs=0.1)


# --- what makes the server notice


@pytest.mark.parametrize("transcript_style", [True, False])
async def test_the_embedded_server_is_asked_to_tell_of_what_it_reads_and_another_one_is_not(
    transcript_style: bool,
) -> None:
    for embedded in (True, False):
        async with serving(in_the_middle, transcript_style=transcript_style, embedded=embedded) as talk:
            with trio.move_on_after(1):
                await talk.reply()
            assert talk.body.get("return_progress", False) is embedded


async def test_what_was_read_is_no_part_of_the_reply() -> None:
    async def noon(exchange: HttpExchange) -> None:
        await exchange.begin(content_type="text/event-stream")
        for sent in (read(0), read(64), read(300), chunk(" Noon."), b"data: [DONE]\n\n"):
            await exchange.send(sent)
        await exchange.end()

    async with serving(noon) as talk:
        assert await talk.reply() == [" Noon."]


async def test_an_answer_that_ends_while_the_prompt_is_read_is_no_reply_that_was_cut() -> None:
    async def gone(exchange: HttpExchange) -> None:
        await exchange.begin(content_type="text/event-stream")
        await exchange.send(read(64))
        await exchange.end()

    async with serving(gone) as talk:
        heard: list[object] = []
        with pytest.raises(ProviderUnavailable):
            async with talk.responder.respond(MESSAGES) as pieces:
                async for piece in pieces:
                    heard.append(piece)  # noqa: PERF401 - what comes before it fails counts
        assert not [piece for piece in heard if isinstance(piece, CutShort)]


async def test_a_server_that_reads_for_long_and_tells_so_is_not_given_up() -> None:
    async def slowly(exchange: HttpExchange) -> None:
        await exchange.begin(content_type="text/event-stream")
        for tokens in range(0, 300, 100):
            await exchange.send(read(tokens))
            await trio.sleep(0.75 * ChatSettings().timeout)
        await exchange.send(chunk(" Noon.") + b"data: [DONE]\n\n")
        await exchange.end()

    async with serving(slowly) as talk:
        with trio.fail_after(100):
            assert await talk.reply() == [" Noon."]


async def test_a_warm_up_waits_until_the_prompt_has_been_read() -> None:
    async with serving(in_the_middle) as talk:
        await talk.responder.warm_up(MESSAGES)
        assert "return_progress" not in talk.body


async def test_the_cue_is_had_as_soon_as_its_token_comes() -> None:
    async def half(exchange: HttpExchange) -> None:
        await exchange.begin(content_type="text/event-stream")
        await exchange.send(read(0) + read(300))
        tokens = [{"token": ".", "logprob": math.log(0.5)}, {"token": " in", "logprob": math.log(0.4)}]
        choice = {"index": 0, "text": ".", "logprobs": {"content": [{"top_logprobs": tokens}]}}
        await exchange.send(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        await trio.sleep_forever()

    async with serving(half) as talk:
        asked = trio.current_time()
        assert await talk.responder.sentence_end(MESSAGES) == pytest.approx(0.5)
        assert trio.current_time() - asked < 0.1
        assert (talk.body["stream"], talk.body["max_tokens"], talk.body["return_progress"]) == (True, 1, True)
