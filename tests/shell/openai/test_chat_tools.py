"""The language model's side against chat servers that are strict, differ in how they stream tool calls, and fail."""

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from agentd.agent import Readiness, ToolDeclaration
from agentd.errors import ProviderError, ProviderRejected, ProviderUnavailable
from agentd.session_events import Cut
from agentd.testing.faults import Fault
from agentd_providers.openai.chat_model import ChatModel, open_chat
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.stages import CutShort, Message, Role, ToolCall
from agentd_providers.shared import SharedServices
from tests.lab.vendors.chat import KEY, Asked, ChatServer, Dialect, open_chat_server
from tests.lab.vendors.http_peer import HttpPeer

pytestmark = pytest.mark.loopback

ASKED = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "What time is it?")]
CLOCK = ToolDeclaration(
    "clock", "Tells the time.", {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
)
DIAL = ToolDeclaration("dial", "Dials.")


@attrs.frozen
class ServedModel:
    server: ChatServer
    peer: HttpPeer
    model: ChatModel

    async def reply(self, messages: list[Message] = ASKED, tools: tuple[ToolDeclaration, ...] = ()) -> list[object]:
        async with self.model.responder.respond(messages, tools) as pieces:
            return [piece async for piece in pieces]


@asynccontextmanager
async def a_model(monkeypatch: pytest.MonkeyPatch, server: ChatServer | None = None) -> AsyncIterator[ServedModel]:
    monkeypatch.setenv("FAKE_CHAT_KEY", KEY)
    with trio.fail_after(20):
        async with open_chat_server(server) as (chat, peer):
            settings = ChatSettings("FAKE_CHAT_KEY", f"{peer.url}/v1", "fake-1", timeout=0.5)
            async with trio.open_nursery() as daemon, open_chat(settings, SharedServices(daemon)) as model:
                yield ServedModel(chat, peer, model)


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_words_and_then_tools_come_whole_whatever_the_server(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_model(monkeypatch, ChatServer(dialect=dialect)) as talk:
        talk.server.replies["What time is it?"] = ["Let me ", "see.", Asked("clock", {"zone": "CET"}), Asked("dial")]
        words, more, *calls = await talk.reply(tools=(CLOCK, DIAL))
        assert [words, more] == ["Let me ", "see."]
        assert [(call.name, call.arguments) for call in calls if isinstance(call, ToolCall)] == [
            ("clock", '{"zone": "CET"}'),
            ("dial", "{}"),
        ]
        assert [tool["function"]["name"] for tool in talk.server.asked[0]["tools"]] == ["clock", "dial"]


async def test_what_tools_gave_is_told_in_the_order_that_servers_want(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_model(monkeypatch) as talk:
        calls = (ToolCall("tool00001", "clock", "{}"), ToolCall("tool00002", "dial", "{}"))
        used = [Message(Role.ASSISTANT, "Let me see.", calls), *(Message(Role.TOOL, "ok", call=c.call) for c in calls)]
        assert await talk.reply([*ASKED, *used], (CLOCK,)) == ["You said ", "ok."]
        assert not talk.server.refused


async def test_without_tools_none_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_model(monkeypatch) as talk:
        assert await talk.reply() == ["You said ", "What time is it?."]
        assert "tools" not in talk.server.asked[0]


async def test_a_server_that_takes_no_tools_refuses_us(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_model(monkeypatch, ChatServer(takes_tools=False)) as talk:
        with pytest.raises(ProviderRejected, match="400"):
            await talk.reply(tools=(CLOCK,))
        assert await talk.reply() == ["You said ", "What time is it?."]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.SLOW, ProviderUnavailable),
        (Fault.GARBAGE, ProviderError),
    ],
)
async def test_a_server_that_is_too_slow_or_mad_is_a_provider_s_error_and_the_next_answer_is_well(
    fault: Fault, error: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_model(monkeypatch) as talk:
        talk.peer.delay = 2.0
        talk.peer.strike(fault)
        with pytest.raises(error) as caught:
            await talk.reply()
        assert KEY not in "".join(traceback.format_exception(caught.value))
        talk.peer.strike(Fault.NONE)
        assert await talk.reply() == ["You said ", "What time is it?."]


async def test_a_server_that_is_cut_in_the_middle_of_a_reply_gives_no_half_a_tool_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_model(monkeypatch) as talk:
        talk.server.replies["What time is it?"] = ["Let me see.", Asked("clock", {"zone": "CET"})]
        got: list[object] = []
        with pytest.raises(ProviderUnavailable):
            async with talk.model.responder.respond(ASKED, (CLOCK,)) as pieces:
                async for piece in pieces:
                    got.append(piece)
                    talk.peer.strike(Fault.CUT)
        assert got == ["Let me see.", CutShort("", Cut.BROKEN)]


async def test_a_wrong_key_is_refused_and_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_model(monkeypatch, ChatServer(key="another")) as talk:
        with pytest.raises(ProviderRejected, match="401") as caught:
            await talk.reply()
        assert KEY not in "".join(traceback.format_exception(caught.value)) + repr(talk.model)
        assert talk.model.readiness == Readiness(False, "the language model's server refused: HTTP 401")
        talk.server.key = KEY
        assert await talk.reply()
        assert talk.model.readiness.ready


async def test_a_model_is_ready_until_it_says_why_not() -> None:
    async with trio.open_nursery() as daemon, open_chat(ChatSettings(""), SharedServices(daemon)) as model:
        assert model.readiness.ready
        starting = ChatModel(model.responder, lambda: "it is being started")
        assert (starting.readiness.ready, starting.readiness.detail) == (False, "it is being started")
