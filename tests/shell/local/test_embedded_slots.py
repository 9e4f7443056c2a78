"""What one call asks of the embedded model's server: it names the slot that has read its conversation."""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from agentd_providers.local import sentence_end
from agentd_providers.local.admission import Admission
from agentd_providers.local.embedded import CallResponder, EmbeddedModel, read_prompt
from agentd_providers.local.slots import Slots
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.stages import Message, Role
from tests.lab.vendors.http_peer import HttpExchange, HttpPeer, open_http_peer

pytestmark = pytest.mark.loopback

MESSAGES = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "I would like to")]


async def answer(exchange: HttpExchange) -> None:
    """A reply in one chunk, or the cue."""
    tokens = [{"token": ".", "logprob": math.log(0.5)}]
    choice = {"index": 0, "text": " Noon.", "logprobs": {"content": [{"top_logprobs": tokens}]}}
    await exchange.begin(content_type="text/event-stream")
    await exchange.send(f"data: {json.dumps({'choices': [choice]})}\n\ndata: [DONE]\n\n".encode())
    await exchange.end()


@asynccontextmanager
async def a_model(slots: int) -> AsyncIterator[tuple[EmbeddedModel, HttpPeer]]:
    with trio.fail_after(20):
        async with open_http_peer(answer) as peer:
            responder = ChatResponder(
                ChatSettings(base_url="", model="tiny"),
                lambda: (f"{peer.url}/v1", "a key"),
                transcript_style=True,
                embedded=True,
                ask_sentence_end=sentence_end.ask,
            )
            table = Slots(slots)
            try:
                yield (
                    EmbeddedModel(
                        responder, for_call=lambda: CallResponder(responder, table, Admission(2)), slots=slots
                    ),
                    peer,
                )
            finally:
                await responder.aclose()


async def test_every_slot_reads_the_prompt_before_a_caller_has_to_wait_for_that() -> None:
    async with a_model(3) as (model, peer), trio.open_nursery() as nursery:
        model.background = nursery
        await read_prompt(model, "Be brief.")
        assert [request.json()["id_slot"] for request in peer.requests] == [0], "the others nobody waits for"
    assert [request.json()["id_slot"] for request in peer.requests] == [0, 1, 2]


async def test_cue_and_reply_of_a_call_ask_one_slot_and_another_call_asks_another() -> None:
    async with a_model(2) as (model, peer), model.open() as alice, model.open() as bob:
        for responder in (alice, bob, alice):
            assert responder.tells_sentence_ends
            assert await responder.sentence_end(MESSAGES) == pytest.approx(0.5)
            async with responder.respond(MESSAGES) as pieces:
                assert [piece async for piece in pieces] == [" Noon."]
        asked = [request.json()["id_slot"] for request in peer.requests]
        assert asked == [asked[0], asked[0], asked[2], asked[2], asked[0], asked[0]]
        assert set(asked) == {0, 1}


async def test_a_reply_is_kept_from_going_round_in_circles_and_the_cue_reads_what_is_there() -> None:
    async with a_model(1) as (model, peer), model.open() as alice:
        await alice.sentence_end(MESSAGES)
        async with alice.respond(MESSAGES) as pieces:
            assert [piece async for piece in pieces] == [" Noon."]
        cue, reply = [request.json() for request in peer.requests]
        assert "dry_multiplier" not in cue
        assert reply["dry_multiplier"] > 0


async def test_no_reply_holds_all_others_up_by_a_search_through_the_vocabulary_for_each_of_four_marks() -> None:
    async with a_model(1) as (model, peer), model.open() as alice:
        async with alice.respond(MESSAGES) as pieces:
            assert [piece async for piece in pieces] == [" Noon."]
        assert peer.requests[0].json()["dry_sequence_breakers"] == [":"], "the server's own are four"


async def test_a_call_that_finds_all_slots_taken_leaves_it_to_the_server() -> None:
    async with a_model(1) as (model, peer), model.open() as alice, model.open() as bob:
        async with alice.respond(MESSAGES) as pieces:
            assert await bob.sentence_end(MESSAGES) == pytest.approx(0.5)
            assert [piece async for piece in pieces] == [" Noon."]
        assert [request.json().get("id_slot") for request in peer.requests] == [0, None]
