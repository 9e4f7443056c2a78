"""What of an answer the embedded model's server is asked for, and when: no more than is read, and nothing before what
has to be there first."""

import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from agentd.agent import ToolDeclaration
from agentd.errors import ProviderUnavailable
from agentd.testing.clock import until
from agentd_providers.local import embedded, places, sentence_end
from agentd_providers.local.admission import Admission
from agentd_providers.local.embedded import CallResponder
from agentd_providers.local.slots import Slots
from agentd_providers.openai.chat import ChatResponder
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.stages import CutShort, Message, Piece, Role
from tests.lab.vendors.http_peer import HttpExchange, HttpPeer, open_http_peer

pytestmark = pytest.mark.loopback

REPLY = (" Certainly", ",", " we", " are", " open", " until", " ten", ".")
FIRST = "".join(REPLY[:3])
SOON = 0.1
"""Seconds within which this process does what it is to do at once."""


def about(topic: str) -> list[Message]:
    return [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, f"Tell me about {topic}")]


@attrs.define(eq=False)
class Server:
    """Goes on with a dialogue, a token every `seconds`; a sentence ends with probability `ends`."""

    seconds: float = 0.01
    ends: float = 0.5
    breaks_after: float = math.inf
    """Tokens of the rest of an answer after which it is gone."""
    left: int = 0
    """Answers that nobody waited for."""

    async def answer(self, exchange: HttpExchange) -> None:
        asked = exchange.request.json()
        await exchange.begin(content_type="text/event-stream")
        if "logprobs" in asked:
            await self._tell_ends(exchange)
            return
        try:
            await self._write(exchange, asked)
        except BaseException:
            self.left += 1
            raise

    async def _write(self, exchange: HttpExchange, asked: Mapping[str, Any]) -> None:
        if "messages" in asked:
            tokens = list(REPLY)
        else:
            written = asked["prompt"].rpartition("Assistant:")[2]
            tokens = list(REPLY[sum(len("".join(REPLY[: n + 1])) <= len(written) for n in range(len(REPLY))) :])
        for number, token in enumerate(tokens):
            if len(tokens) < len(REPLY) and number >= self.breaks_after:
                return
            await trio.sleep(self.seconds)
            await exchange.send(chunk(token, chat="messages" in asked))
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

    async def _tell_ends(self, exchange: HttpExchange) -> None:
        await trio.sleep(self.seconds)
        tokens = [{"token": ".", "logprob": math.log(self.ends)}]
        choice = {"index": 0, "text": ".", "logprobs": {"content": [{"top_logprobs": tokens}]}}
        await exchange.send(f"data: {json.dumps({'choices': [choice]})}\n\ndata: [DONE]\n\n".encode())
        await exchange.end()


def chunk(text: str, *, chat: bool) -> bytes:
    choice = {"index": 0, "delta": {"content": text}} if chat else {"index": 0, "text": text}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


@attrs.define(eq=False)
class Line:
    """The embedded model, and who asks it."""

    server: Server
    peer: HttpPeer
    responder: ChatResponder
    admission: Admission
    slots: Slots

    def caller(self) -> CallResponder:
        return CallResponder(self.responder, self.slots, self.admission)

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [request.json() for request in self.peer.requests]

    @property
    def topics(self) -> list[str]:
        """What each request was about, in their order; a cue's is in capitals, the rest of an answer's ends in dots."""
        told = []
        for asked in self.asked:
            line = asked["prompt"].rpartition("Tell me about ")[2]
            topic, _, written = line.partition("\nAssistant:")
            told.append(topic.upper() if "logprobs" in asked else f"{topic}..." if written else topic)
        return told


@asynccontextmanager
async def a_line(*, at_once: int = 2, written: bool = True, context: int = 0, **server: Any) -> AsyncIterator[Line]:
    fake = Server(**server)
    with trio.fail_after(20):
        async with open_http_peer(fake.answer) as peer:
            responder = ChatResponder(
                ChatSettings(base_url="", model="tiny", context=context),
                lambda: (f"{peer.url}/v1", "a key"),
                transcript_style=written,
                embedded=True,
                ask_sentence_end=sentence_end.ask,
            )
            try:
                yield Line(fake, peer, responder, Admission(at_once), Slots(4))
            finally:
                await responder.aclose()


async def reply_to(
    caller: CallResponder, messages: Sequence[Message], tools: Sequence[ToolDeclaration] = ()
) -> list[Piece]:
    async with caller.respond(messages, tools) as pieces:
        return [piece async for piece in pieces]


async def first_clause(pieces: AsyncIterator[Piece]) -> str:
    """Read as far as who speaks the first clause does."""
    heard = ""
    while heard != FIRST:
        heard += str(await anext(pieces))
    return heard


# --- no more than is read


async def test_who_reads_all_of_a_reply_gets_all_of_it() -> None:
    async with a_line() as line:
        assert await reply_to(line.caller(), about("tables")) == list(REPLY)
        assert line.topics == ["tables", "tables..."]


async def test_a_reply_that_is_read_up_to_its_first_clause_is_written_no_further() -> None:
    async with a_line() as line, line.caller().respond(about("tables")) as pieces:
        await first_clause(pieces)
        await until(lambda: not line.peer.open)
        assert line.server.left == 1
        await trio.sleep(3 * SOON)
        assert len(line.peer.requests) == 1


async def test_the_rest_is_asked_for_at_the_slot_that_has_read_the_beginning() -> None:
    async with a_line() as line:
        alice, bob = line.caller(), line.caller()
        async with alice.respond(about("tables")) as pieces:
            await first_clause(pieces)
            await reply_to(bob, about("cars"))
            assert [piece async for piece in pieces] == list(REPLY[3:])
        slots = dict(zip(line.topics, (asked["id_slot"] for asked in line.asked), strict=True))
        assert slots["tables"] == slots["tables..."] != slots["cars"] == slots["cars..."]
        assert line.asked[-1]["prompt"].endswith(f"Tell me about tables\nAssistant:{FIRST}")


async def test_an_answer_that_is_given_up_in_a_pause_leaves_nothing() -> None:
    async with a_line(at_once=1) as line:
        async with line.caller().respond(about("tables")) as pieces:
            await first_clause(pieces)
        assert await reply_to(line.caller(), about("cars")) == list(REPLY)
        assert line.topics == ["tables", "cars", "cars..."]


async def test_a_server_that_is_lost_in_the_rest_of_a_reply_cut_it_short() -> None:
    async with a_line(breaks_after=1) as line:
        heard = list[Piece]()
        with pytest.raises(ProviderUnavailable):
            async with line.caller().respond(about("tables")) as pieces:
                async for piece in pieces:
                    heard.append(piece)
        assert heard[:4] == list(REPLY[:4])
        assert [type(piece) for piece in heard[4:]] == [CutShort]


async def test_a_model_that_is_asked_in_the_form_of_a_chat_is_asked_for_all_of_it() -> None:
    async with a_line(written=False) as line:
        assert await reply_to(line.caller(), about("tables")) == list(REPLY)
        assert len(line.peer.requests) == 1


async def test_turns_that_a_prompt_goes_without_are_told_of_once() -> None:
    told = list[int]()
    async with a_line(context=1024) as line:
        line.responder.on_left_out = told.append
        long_ago = [Message(Role.USER, "word " * 9000), Message(Role.ASSISTANT, "I see.")]
        system, asked = about("tables")
        assert await reply_to(line.caller(), [system, *long_ago, asked]) == list(REPLY)
        assert len(line.peer.requests) == 2
    assert len(told) == 1


# --- what has to be there first


async def test_an_answer_that_waits_for_its_turn_to_be_over_holds_nobody_up() -> None:
    async with a_line(at_once=1) as line, line.caller().respond(about("tables")) as pieces:
        await first_clause(pieces)
        asked = trio.current_time()
        assert await line.caller().sentence_end(about("cars")) == pytest.approx(0.5)
        assert trio.current_time() - asked < SOON


async def test_a_request_waits_until_there_is_a_place() -> None:
    async with a_line(at_once=1, seconds=0.05) as line, trio.open_nursery() as nursery:
        nursery.start_soon(reply_to, line.caller(), about("tables"))
        await until(lambda: line.peer.requests)
        await line.caller().sentence_end(about("cars"))
        nursery.cancel_scope.cancel()
        assert line.topics[:2] == ["tables", "CARS"]
        assert line.peer.requests[1].at - line.peer.requests[0].at > 0.1


async def test_the_rest_of_an_answer_waits_for_first_words() -> None:
    async with a_line(at_once=1, seconds=0.05) as line, trio.open_nursery() as nursery:
        wanted = trio.Event()

        async def listen() -> None:
            async with line.caller().respond(about("tables")) as pieces:
                await first_clause(pieces)
                await wanted.wait()
                assert [piece async for piece in pieces] == list(REPLY[3:])

        nursery.start_soon(listen)
        await until(lambda: line.server.left)
        nursery.start_soon(reply_to, line.caller(), about("cars"))
        await until(lambda: len(line.peer.requests) == 2)
        wanted.set()
        await trio.sleep(0.01)
        nursery.start_soon(line.caller().sentence_end, about("fish"))
        await until(lambda: len(line.peer.requests) == 4)
        assert line.topics == ["tables", "cars", "FISH", "tables..."]
        nursery.cancel_scope.cancel()


async def test_an_answer_to_words_that_hardly_end_a_sentence_waits_for_other_callers() -> None:
    async with a_line(at_once=1, seconds=0.05, ends=0.001) as line, trio.open_nursery() as nursery:
        alice = line.caller()
        await alice.sentence_end(about("tables"))
        nursery.start_soon(reply_to, line.caller(), about("cars"))
        await until(lambda: len(line.peer.requests) == 2)
        nursery.start_soon(reply_to, alice, about("tables"))
        await trio.sleep(0.01)
        nursery.start_soon(line.caller().sentence_end, about("fish"))
        await until(lambda: len(line.peer.requests) == 4)
        nursery.cancel_scope.cancel()
        assert line.topics[:4] == ["TABLES", "cars", "FISH", "tables"]


async def test_an_answer_to_other_words_does_not() -> None:
    async with a_line(at_once=1, seconds=0.05, ends=0.001) as line, trio.open_nursery() as nursery:
        alice = line.caller()
        await alice.sentence_end(about("tables"))
        nursery.start_soon(reply_to, line.caller(), about("cars"))
        await until(lambda: len(line.peer.requests) == 2)
        nursery.start_soon(reply_to, alice, about("tables and chairs"))
        await trio.sleep(0.01)
        nursery.start_soon(line.caller().sentence_end, about("fish"))
        await until(lambda: len(line.peer.requests) == 4)
        nursery.cancel_scope.cancel()
        assert line.topics[:4] == ["TABLES", "cars", "tables and chairs", "FISH"]


async def test_an_answer_that_is_hardly_wanted_is_left_for_another_callers_words_and_then_gone_on_with() -> None:
    async with a_line(at_once=3, seconds=0.05, ends=0.001) as line, trio.open_nursery() as nursery:
        alice, bob, heard = line.caller(), line.caller(), list[Piece]()
        await alice.sentence_end(about("tables"))

        async def listen() -> None:
            heard.extend(await reply_to(alice, about("tables")))

        nursery.start_soon(listen)
        await until(lambda: len(line.peer.requests) == 2)
        await trio.sleep(0.08)
        await bob.sentence_end(about("cars"))
        await until(lambda: len(line.peer.requests) == 4)
        assert line.topics == ["TABLES", "tables", "CARS", "tables..."]
        assert line.server.left == 1
        await until(lambda: heard)
        assert heard == list(REPLY)
        slots = [asked["id_slot"] for asked in line.asked]
        assert slots[0] == slots[1] == slots[3] != slots[2], "what was read is there"


async def test_an_answer_that_is_left_before_its_first_word_comes_all_the_same() -> None:
    async with a_line(at_once=3, seconds=0.05, ends=0.001) as line, trio.open_nursery() as nursery:
        alice, heard = line.caller(), list[Piece]()
        await alice.sentence_end(about("tables"))

        async def listen() -> None:
            heard.extend(await reply_to(alice, about("tables")))

        nursery.start_soon(listen)
        await until(lambda: len(line.peer.requests) == 2)
        await line.caller().sentence_end(about("cars"))
        await until(lambda: heard)
        assert heard == list(REPLY)
        assert line.topics[:4] == ["TABLES", "tables", "CARS", "tables"]


async def test_the_rest_of_an_answer_is_left_for_another_callers_words_and_then_gone_on_with() -> None:
    async with a_line(at_once=3, seconds=0.03) as line, trio.open_nursery() as nursery:
        heard = list[Piece]()

        async def listen() -> None:
            heard.extend(await reply_to(line.caller(), about("tables")))

        nursery.start_soon(listen)
        await until(lambda: len(line.peer.requests) == 2)
        await trio.sleep(0.05)
        await line.caller().sentence_end(about("cars"))
        await until(lambda: heard)
        assert line.topics == ["tables", "tables...", "CARS", "tables..."]
        assert heard == list(REPLY)


async def test_first_words_are_left_for_nobody() -> None:
    async with a_line(at_once=3, seconds=0.05) as line:
        async with line.caller().respond(about("tables")) as pieces:
            await anext(pieces)
            await line.caller().sentence_end(about("cars"))
            assert line.server.left == 0
        assert line.topics == ["tables", "CARS"]


async def test_an_answer_that_is_hardly_wanted_begins_beside_others_once_it_can_wait_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "DOUBTFUL", 0.1)
    async with a_line(at_once=3, seconds=0.01, ends=0.001) as line, trio.open_nursery() as nursery:
        alice = line.caller()
        await alice.sentence_end(about("tables"))
        line.server.seconds = 1.0
        nursery.start_soon(reply_to, line.caller(), about("cars"))
        await until(lambda: len(line.peer.requests) == 2)
        asked = trio.current_time()
        nursery.start_soon(reply_to, alice, about("tables"))
        await until(lambda: len(line.peer.requests) == 3)
        assert 0.1 <= trio.current_time() - asked < 0.1 + SOON
        nursery.cancel_scope.cancel()


async def test_a_request_that_is_given_up_while_it_waits_is_never_made() -> None:
    async with a_line(at_once=1, seconds=0.05) as line, trio.open_nursery() as nursery:
        nursery.start_soon(reply_to, line.caller(), about("tables"))
        await until(lambda: line.peer.requests)
        with trio.move_on_after(0.02):
            await line.caller().sentence_end(about("cars"))
        await line.caller().sentence_end(about("fish"))
        nursery.cancel_scope.cancel()
        assert "CARS" not in line.topics


async def test_nobody_waits_for_a_place_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_WAIT", 0.05)
    async with a_line(at_once=1, seconds=1.0) as line, trio.open_nursery() as nursery:
        nursery.start_soon(reply_to, line.caller(), about("tables"))
        await until(lambda: line.peer.requests)
        nursery.start_soon(reply_to, line.caller(), about("cars"))
        asked = trio.current_time()
        await until(lambda: len(line.peer.requests) == 2)
        assert trio.current_time() - asked < 0.05 + SOON
        nursery.cancel_scope.cancel()
