"""Servers of language models differ, and none is known by its address: what one takes is learnt from what it refuses.
Each row names who reported it: repository and number of its issue or pull request."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from agentd.agent import ToolDeclaration
from agentd.errors import ProviderRejected, ProviderUnavailable
from agentd.testing.clock import until
from agentd_providers.openai.chat_model import ChatModel, open_chat
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.openai.ways import Ways
from agentd_providers.pipeline.stages import Message, Role
from agentd_providers.shared import SharedServices
from tests.lab.vendors.http_peer import HttpExchange, HttpPeer, open_http_peer
from tests.lab.vendors.peer import PeerGone

ASKED = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "What time is it?")]
CLOCK = ToolDeclaration("clock", "Tells the time.", {"type": "object", "properties": {}})
KEY = "sk-secret-0123456789abcdef"


def refusal(message: str, **more: Any) -> Mapping[str, Any]:
    return {"message": message, "type": "invalid_request_error", **more}


# --- what is learnt of a refusal

BOTH: Mapping[str, Any] = {"max_tokens": 300, "temperature": 0.2, "reasoning_effort": "low", "tools": []}
REFUSED: Mapping[str, tuple[int, Any, Mapping[str, Any]]] = {
    # anomalyco/opencode#37964, OpenHands/software-agent-sdk#1083, owndev/Open-WebUI-Functions#136: GPT-5 on Azure
    "max_completion_tokens": (
        400,
        refusal(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        ),
        {"max_completion_tokens": 300, "temperature": 0.2, "reasoning_effort": "low"},
    ),
    # davidmigloz/langchain_dart#712, generative-computing/mellea#270
    "no reasoning_effort": (
        400,
        refusal("Unrecognized request argument supplied: reasoning_effort", param=None, code=None),
        {"max_tokens": 300, "temperature": 0.2},
    ),
    # router-for-me/CLIProxyAPI#1307, mistralai/mistral-vibe#1117
    "a value of reasoning_effort": (
        422,
        {"detail": [{"type": "enum", "loc": ["body", "reasoning_effort"], "msg": "Input should be 'low' or 'high'"}]},
        {"max_tokens": 300, "temperature": 0.2},
    ),
    # vLLM, Mistral: FastAPI's form
    "extra_forbidden": (
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "reasoning_effort"],
                    "msg": "Extra inputs are not permitted",
                }
            ]
        },
        {"max_tokens": 300, "temperature": 0.2},
    ),
    # Gemini's compatible API
    "unknown name": (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": 'Invalid JSON payload received. Unknown name "reasoning_effort": Cannot find field.',
                }
            }
        ],
        {"max_tokens": 300, "temperature": 0.2},
    ),
    # OpenAI's reasoning models
    "temperature": (
        400,
        refusal(
            "Unsupported value: 'temperature' does not support 0.2 with this model. "
            "Only the default (1) value is supported.",
            param="temperature",
        ),
        {"max_tokens": 300, "reasoning_effort": "low"},
    ),
    # community.openai.com 1386454: reasons by default, and then takes no tools
    "tools without thinking": (
        400,
        refusal(
            "Function tools with reasoning_effort are not supported for this model in /v1/chat/completions. "
            "Please use /v1/responses or set reasoning_effort to 'none'."
        ),
        {"max_tokens": 300, "temperature": 0.2, "reasoning_effort": "none"},
    ),
    # OpenRouter: the vendor's words are behind its own
    "a gateway's": (
        400,
        {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {"raw": '{"error":"unknown field reasoning_effort"}'},
        },
        {"max_tokens": 300, "temperature": 0.2},
    ),
    # litellm: UnsupportedParamsError, told as 500 by some versions
    "a gateway's 500": (
        500,
        refusal("litellm.UnsupportedParamsError: groq does not support parameters: ['reasoning_effort']"),
        {"max_tokens": 300, "temperature": 0.2},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_that_names_an_optional_part_has_it_asked_without_or_by_its_other_name(case: str) -> None:
    status, body, then = REFUSED[case]
    ways = Ways()
    assert ways.learn(status, body, BOTH)
    assert ways.parameters(max_tokens=300, temperature=0.2, effort="low") == then


def test_where_neither_name_is_taken_no_limit_is_sent() -> None:
    """1Panel-dev/MaxKB#3702; and openai/openai-python#1724, where the newer name is the unknown one."""
    ways = Ways()
    assert ways.learn(400, refusal("max_tokens is not supported"), {"max_tokens": 1})
    assert ways.learn(
        400, refusal("Unrecognized request argument supplied: max_completion_tokens"), {"max_completion_tokens": 1}
    )
    assert ways.parameters(max_tokens=300, temperature=-1, effort="") == {}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "registry.ollama.ai/library/gemma:latest does not support tools"),  # ollama/ollama#5793
        (404, 'model "gone" not found, try pulling it first'),  # ollama/ollama#6027
        (429, "You exceeded your current quota, please check your plan: max_tokens"),
        (401, "Incorrect API key provided: temperature"),
        (400, "messages: at least one message is required"),
    ],
)
def test_a_refusal_of_another_kind_teaches_nothing(status: int, message: str) -> None:
    assert not Ways().learn(status, refusal(message), BOTH)


# --- asked on a real socket


@attrs.define(eq=False)
class Server:
    """A server that refuses what `refuses` tells of a request, and loads its model for `load` seconds: it gives up when
    the client leaves whose request began it, as Ollama does."""

    refuses: Any = lambda _body: None
    load: float = 0.0
    asked: list[Mapping[str, Any]] = attrs.field(factory=list)
    given_up: int = 0
    loaded: bool = False
    _loading: bool = False

    async def handle(self, exchange: HttpExchange) -> None:
        if exchange.request.path.endswith("/models"):
            await exchange.answer(200, {"object": "list", "data": []})
            return
        if not exchange.request.path.endswith("/chat/completions"):
            await exchange.answer(404, {"error": {"message": "Not found"}})
            return
        body = exchange.request.json()
        self.asked.append(body)
        if (refused := self.refuses(body)) is not None:
            status, error = refused
            await exchange.answer(status, {"error": error})
            return
        await self._load(exchange)
        await exchange.begin(content_type="text/event-stream")
        for delta, finish in (({"content": "It is five."}, None), ({}, "stop")):
            chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            await exchange.send(f"data: {json.dumps(chunk)}\n\n".encode())
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.end()

    async def _load(self, exchange: HttpExchange) -> None:
        if self.loaded or not self.load:
            return
        if self._loading:
            while not self.loaded:
                if not self._loading:
                    raise PeerGone
                await trio.sleep(0.01)
            return
        self._loading = True
        try:
            await trio.sleep(self.load)  # cancelled when the client leaves
            self.loaded = True
        finally:
            self._loading = False
            self.given_up += not self.loaded


@attrs.frozen
class Served:
    server: Server
    peer: HttpPeer
    model: ChatModel
    shared: SharedServices
    settings: ChatSettings

    async def reply(self, *tools: ToolDeclaration) -> str:
        async with self.model.open() as responder, responder.respond(ASKED, tools) as pieces:
            return "".join([str(piece) async for piece in pieces])


@asynccontextmanager
async def served(server: Server, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Served]:
    monkeypatch.setenv("FAKE_CHAT_KEY", KEY)
    with trio.fail_after(20):
        async with open_http_peer(server.handle, HttpPeer()) as peer, trio.open_nursery() as daemon:
            shared = SharedServices(daemon)
            asked = ChatSettings("FAKE_CHAT_KEY", f"{peer.url}/v1", "fake-1", **settings)
            async with open_chat(asked, shared) as model:
                yield Served(server, peer, model, shared, asked)


def only_completion_tokens(body: Mapping[str, Any]) -> Any:
    if "max_tokens" in body:
        return 400, REFUSED["max_completion_tokens"][1]
    return None


@pytest.mark.loopback
async def test_it_is_learnt_once_for_a_model_on_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(Server(only_completion_tokens), monkeypatch) as talk:
        assert [await talk.reply(), await talk.reply()] == ["It is five."] * 2
        async with open_chat(talk.settings, talk.shared) as another, another.open() as responder:
            async with responder.respond(ASKED) as pieces:
                assert [piece async for piece in pieces] == ["It is five."]
        assert ["max_tokens" in body for body in talk.server.asked] == [True, False, False, False]


@pytest.mark.loopback
async def test_several_lessons_of_one_server_are_learnt_in_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(body: Mapping[str, Any]) -> Any:
        for name in ("temperature", "reasoning_effort", "max_tokens"):
            if name in body:
                return 400, refusal(f"Unsupported parameter: '{name}'", param=name)
        return None

    async with served(Server(strict), monkeypatch, temperature=0.2, reasoning_effort="low") as talk:
        assert await talk.reply() == "It is five."
        assert len(talk.server.asked) == 4


REASONS = [
    (
        404,
        refusal("The model `fake-1` does not exist or you do not have access to it."),
        ProviderRejected,
        "fake-1` does not exist",
    ),
    (400, refusal("gemma:latest does not support tools"), ProviderRejected, "does not support tools"),
    (
        400,
        refusal('"auto" tool choice requires --enable-auto-tool-choice'),
        ProviderRejected,
        "enable-auto-tool-choice",
    ),
    (
        429,
        refusal("You exceeded your current quota, please check your plan.", code="insufficient_quota"),
        ProviderUnavailable,
        "quota",
    ),
    (402, refusal("Insufficient Balance"), ProviderRejected, "Insufficient Balance"),  # DeepSeek
    (
        500,
        "model requires more system memory (5.6 GiB) than is available (3.1 GiB)",
        ProviderUnavailable,
        "system memory",
    ),
    (503, refusal("The engine is currently overloaded"), ProviderUnavailable, "overloaded"),
    (403, refusal("Country, region, or territory not supported"), ProviderRejected, "region"),
    (400, refusal(f"bad header Bearer {KEY}, key {KEY}"), ProviderRejected, "bad header"),
    (401, refusal(f"Incorrect API key provided: {KEY[:8]}***{KEY[-4:]}"), ProviderRejected, "HTTP 401$"),
]


@pytest.mark.loopback
@pytest.mark.parametrize(("status", "error", "kind", "why"), REASONS)
async def test_a_refusal_is_told_with_its_reason_and_without_the_key(
    status: int, error: Any, kind: type[Exception], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(Server(lambda _body: (status, error)), monkeypatch) as talk:
        with pytest.raises(kind, match=why) as caught:
            await talk.reply(CLOCK)
        assert KEY not in str(caught.value) and KEY[-4:] not in str(caught.value)


# --- a model that is not loaded: rsynnot/magic-lists-for-navidrome#34, home-assistant/core#135952, cline/cline#12839


@pytest.mark.loopback
async def test_the_first_request_is_not_given_up_while_the_model_is_being_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five turns, five loads given up: it never got better."""
    async with served(Server(load=1.6), monkeypatch, timeout=0.5) as talk:
        with pytest.raises(ProviderUnavailable, match="loading it"):
            await talk.reply()
        assert not talk.model.readiness.ready
        assert "loading" in talk.model.readiness.detail
        await until(lambda: talk.server.loaded)
        assert await talk.reply() == "It is five."
        assert talk.server.given_up == 0
        assert talk.model.readiness.ready


@pytest.mark.loopback
async def test_a_caller_waits_longer_for_a_model_that_may_have_to_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(Server(load=0.8), monkeypatch, timeout=0.5) as talk:
        assert await talk.reply() == "It is five."
        assert talk.server.given_up == 0


@pytest.mark.loopback
async def test_it_is_warmed_up_once_when_an_agent_opens_and_not_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(Server(only_completion_tokens, load=0.3), monkeypatch, timeout=0.2) as talk:
        talk.model.begin_warm_up("Be brief.")
        async with open_chat(talk.settings, talk.shared) as another:
            another.begin_warm_up("Be brief.")
            await until(lambda: talk.server.loaded)
        assert await talk.reply() == "It is five."
        assert len(talk.server.asked) == 3, "a refused one, the warm-up and the caller's"
        assert talk.server.given_up == 0


@pytest.mark.loopback
async def test_a_warm_up_that_is_refused_shows_why_the_model_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal("The model `fake-1` does not exist")
    async with served(Server(lambda _body: (404, error)), monkeypatch) as talk:
        talk.model.begin_warm_up("Be brief.")
        await until(lambda: not talk.model.readiness.ready)
        assert "does not exist" in talk.model.readiness.detail


@pytest.mark.loopback
async def test_calls_cost_no_request_beside_their_turns_but_for_one_that_asks_for_completions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(Server(), monkeypatch) as talk:
        for _ in range(5):
            await talk.reply()
        asked = [request.path for request in talk.peer.requests]
        assert asked.count("/v1/chat/completions") == 5
        assert asked.count("/v1/completions") <= 1
        assert len(asked) <= 7
