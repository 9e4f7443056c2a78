"""What vendors refuse, their fakes refuse, too, in the vendors' words; and what they take, the fakes take. So whatever
runs against a fake runs against that. (Sources: beside each refusal in tests/lab/vendors.)"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket

from agentd.agent import ToolDeclaration
from agentd.cli import main
from agentd.errors import CallRejected, ProviderRejected
from agentd_providers.openai.chat_model import open_chat
from agentd_providers.openai.chat_settings import ChatSettings
from agentd_providers.pipeline.stages import Message, Role, ToolCall
from agentd_providers.shared import SharedServices
from tests.lab.vendors import deepgram_agent
from tests.lab.vendors.chat import KEY, Asked, ChatServer, open_chat_server
from tests.lab.vendors.chat_refusals import Kind, Refused, check
from tests.lab.vendors.deepgram_agent import DeepgramAgentFake, Refusal, check_settings
from tests.lab.vendors.openai_speech import COMPATIBLE, SPEECH_MODELS, speech_complaint
from tests.lab.vendors.peer import open_peer

CLOCK = ToolDeclaration("clock", "Tells the time.", {"type": "object", "properties": {}})
ASKED = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "What time is it?")]
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
GOOD: Mapping[str, Any] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello."}]}


def called(**fields: Any) -> list[dict[str, Any]]:
    function = {"name": "clock", "arguments": "{}"}
    call = {"id": "call_1", "type": "function", "function": function, **fields.pop("call", {})}
    return [
        *GOOD["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call], **fields},
        {"role": "tool", "content": "five", "tool_call_id": call["id"]},
    ]


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        (Kind.PLAIN, {"model": "gone"}, 404, "does not exist or you do not have access"),
        (Kind.PLAIN, {"keep_alive": -1}, 400, "Unrecognized request argument supplied: keep_alive"),
        (Kind.PLAIN, {"reasoning_effort": "low"}, 400, "Unrecognized request argument"),
        (Kind.PLAIN, {"max_tokens": 0}, 400, "max_tokens"),
        (Kind.PLAIN, {"temperature": 2.5}, 400, "temperature"),
        (Kind.PLAIN, {"messages": [{"role": "user", "content": "x" * 50_000}]}, 400, "maximum context length"),
        (Kind.PLAIN, {"tools": [TOOL] * 129}, 400, "array too long"),
        (Kind.PLAIN, {"tools": [{"type": "function", "function": {"name": "a b"}}]}, 400, "does not match pattern"),
        (Kind.PLAIN, {"messages": called()[:2]}, 400, "must be followed by tool messages"),
        (Kind.PLAIN, {"messages": called(call={"id": "x" * 41})}, 400, "maximum length 40"),
        (Kind.PLAIN, {"messages": called(call={"extra_content": {}})}, 400, "not a call"),
        (Kind.REASONING, {"max_tokens": 80}, 400, "Use 'max_completion_tokens' instead"),
        (Kind.REASONING, {"temperature": 0.2}, 400, "Only the default"),
        (Kind.REASONING, {"reasoning_effort": "minimal"}, 400, "does not support 'minimal'"),
        (Kind.REASONING, {"tools": [TOOL]}, 400, "set reasoning_effort to 'none'"),
        (Kind.REASONING, {"tools": [TOOL], "reasoning_effort": "low"}, 400, "set reasoning_effort to 'none'"),
        (Kind.ALWAYS_REASONING, {"tools": [TOOL]}, 400, "set reasoning_effort to 'none'"),
        (Kind.ALWAYS_REASONING, {"tools": [TOOL], "reasoning_effort": "none"}, 400, "does not support 'none'"),
        (Kind.SIGNING, {"messages": called()}, 400, "missing a thought_signature"),
        (Kind.THINKING, {"messages": called()}, 400, "reasoning_content in the thinking mode must be passed back"),
    ],
)
def test_a_chat_server_refuses_what_vendors_refuse(
    kind: Kind, body: Mapping[str, Any], status: int, words: str
) -> None:
    check(GOOD, "m", kind, takes_tools=True, context=8192)
    with pytest.raises(Refused, match=words) as caught:
        check({**GOOD, **body}, "m", kind, takes_tools=True, context=8192)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.PLAIN, {"max_completion_tokens": 80, "temperature": 0.2, "tools": [TOOL]}),
        (Kind.REASONING, {"max_completion_tokens": 80, "tools": [TOOL], "reasoning_effort": "none"}),
        (Kind.SIGNING, {"messages": called(call={"extra_content": {"google": {"thought_signature": "x"}}})}),
        # of earlier turns no signature is asked for
        (Kind.SIGNING, {"messages": [*called(), {"role": "user", "content": "And now?"}]}),
        (Kind.THINKING, {"messages": called(reasoning_content="")}),
    ],
)
def test_and_takes_what_they_take(kind: Kind, body: Mapping[str, Any]) -> None:
    check({**GOOD, **body}, "m", kind, takes_tools=True, context=8192)


@pytest.mark.loopback
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ALWAYS_REASONING])
async def test_each_kind_of_model_is_learnt_once_and_uses_tools(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CHAT_KEY", KEY)
    server = ChatServer(kind=kind, replies={"What time is it?": [Asked("clock")], "five": ["It is five."]})
    async with open_chat_server(server) as (_, peer), trio.open_nursery() as daemon:
        asked = ChatSettings("FAKE_CHAT_KEY", f"{peer.url}/v1", "fake-1", temperature=0.2)
        async with open_chat(asked, SharedServices(daemon)) as model:
            for _turn in range(2):
                async with model.responder.respond(ASKED, (CLOCK,)) as pieces:
                    (call,) = [piece async for piece in pieces]
                assert isinstance(call, ToolCall)
                used = [Message(Role.ASSISTANT, "", (call,)), Message(Role.TOOL, "five", call=call.call)]
                async with model.responder.respond([*ASKED, *used], (CLOCK,)) as pieces:
                    assert [piece async for piece in pieces] == ["It is five."]
    assert not server.refused
    assert len(server.asked) == 4
    assert len(server.lessons) == (3 if kind is Kind.REASONING else 0), "and never the same twice"


@pytest.mark.loopback
async def test_a_model_that_cannot_stop_thinking_is_told_to_be_without_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CHAT_KEY", KEY)
    async with (
        open_chat_server(ChatServer(kind=Kind.ALWAYS_REASONING)) as (server, peer),
        trio.open_nursery() as daemon,
    ):
        asked = ChatSettings("FAKE_CHAT_KEY", f"{peer.url}/v1", "fake-1")
        async with open_chat(asked, SharedServices(daemon)) as model:
            for _turn in range(2):
                with pytest.raises(ProviderRejected, match="Function tools with reasoning_effort are not supported"):
                    async with model.responder.respond(ASKED, (CLOCK,)):
                        pass
            async with model.responder.respond(ASKED) as pieces:
                assert "".join([str(piece) async for piece in pieces]) == "You said What time is it?."
    assert len(server.lessons) <= 6, "it is not asked again and again"


@pytest.mark.parametrize(
    ("model", "base_url", "takes"),
    [
        ("gpt-6-astra", "https://api.openai.com/v1", False),
        ("gpt-6-astra-2026-09-03", "https://eu.api.openai.com/v1", False),
        ("gpt-6-luna", "https://api.openai.com/v1", True),
        ("gpt-6-astral", "https://api.openai.com/v1", True),
        ("gpt-6-astra", "http://localhost:4000/v1", True),  # a gateway may ask it over another API
    ],
)
def test_its_agent_goes_without_tools_and_check_says_so(
    model: str, base_url: str, takes: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        "[agents.a]\nprovider = 'pipeline'\ntools = ['hang_up']\n[agents.a.pipeline]\nthink = 'openai'\n"
        f"[agents.a.pipeline.think_openai]\nmodel = '{model}'\nbase_url = '{base_url}'\n"
        "[agents.b]\ntools = ['hang_up']\n[agents.b.local.llm]\napi_key_name = 'K'\n"
        f"model = '{model}'\nbase_url = '{base_url}'\n"
    )
    assert main(["check", "--config", str(path)]) == 0
    notes = capsys.readouterr().out
    for agent in ("a", "b"):
        assert (f"the language model of agents.{agent} uses no tools" in notes) is not takes


@pytest.mark.loopback
async def test_a_model_that_is_not_there_and_a_context_that_is_full_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CHAT_KEY", KEY)
    async with open_chat_server(ChatServer(context=20)) as (server, peer), trio.open_nursery() as daemon:
        asked = ChatSettings("FAKE_CHAT_KEY", f"{peer.url}/v1", "fake-1")
        long = [*ASKED, Message(Role.USER, "What time is it? " * 20)]
        async with open_chat(asked, SharedServices(daemon)) as model:
            with pytest.raises(CallRejected, match="longer than the model's context"):
                async with model.responder.respond(long):
                    pass
            server.model = "another"
            with pytest.raises(ProviderRejected, match="HTTP 404: The model `fake-1` does not exist"):
                async with model.responder.respond(ASKED):
                    pass


# --- Deepgram


def settings(**parts: Any) -> Mapping[str, Any]:
    sound = {"encoding": "linear16", "sample_rate": 8000}
    agent = {
        "listen": {"provider": {"type": "deepgram", "model": "nova-3", **parts.get("listen", {})}},
        "think": {"provider": {"type": "open_ai", "model": "gpt-5.4-mini", **parts.get("think", {})}},
        "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en", **parts.get("speak", {})}},
    }
    return {"type": "Settings", "audio": {"input": sound, "output": {**sound, "container": "none"}}, "agent": agent}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"listen": {"model": "flux-general-en", "version": "v2"}},
        {"think": {"type": "anthropic", "model": "claude-sonnet-4-5"}},
        {"think": {"type": "deepgram", "model": "think-fast"}},
        {"speak": {"model": "flux-haley-en", "version": "v2"}},
        # deepgram-sdk 7.17: newer optional fields
        {"speak": {"expressivity": 1, "volume": 0.5, "speed": 1.1}},
    ],
)
def test_deepgrams_agent_takes_what_deepgram_has(parts: Any) -> None:
    check_settings(settings(**parts))


@pytest.mark.parametrize(
    "parts",
    [
        {"listen": {"model": "nova-3", "version": "v2"}},
        {"listen": {"model": "flux-general-en"}},  # the default is v1
        {"listen": {"model": "gone"}},
        {"think": {"type": "open_ai", "model": "claude-sonnet-4-5"}},
        {"think": {"type": "anthropic", "model": "gpt-4o-mini"}},
        {"think": {"type": "groq", "model": "openai/gpt-oss-20b"}},
        {"speak": {"model": "flux-haley-en"}},
        {"speak": {"model": "aura-2-thalia-en", "version": "v2"}},
        {"speak": {"type": "cartesia", "model": "aura-2-thalia-en"}},
    ],
)
def test_and_refuses_what_it_has_not_or_not_there(parts: Any) -> None:
    with pytest.raises(Refusal):
        check_settings(settings(**parts))


THINK = {"provider": {"type": "google", "model": "gemini-2.5-flash"}, "prompt": "Be brief."}
UPDATES: Sequence[tuple[Mapping[str, Any], str]] = [
    ({"type": "UpdatePrompt", "prompt": "Be kind."}, "PromptUpdated"),
    ({"type": "UpdateListen", "listen": settings()["agent"]["listen"]}, "ListenUpdated"),
    ({"type": "UpdateThink", "think": THINK}, "ThinkUpdated"),
    ({"type": "UpdateSpeak", "speak": settings()["agent"]["speak"]}, "SpeakUpdated"),
]


@pytest.mark.loopback
async def test_deepgrams_agent_is_changed_in_the_middle_of_a_conversation() -> None:
    fake = DeepgramAgentFake()
    headers = [("Authorization", f"Token {deepgram_agent.KEY}")]
    async with (
        open_peer(fake.serve, fake.peer(), admit=fake.admit) as peer,
        trio_websocket.open_websocket_url(f"{peer.url}{deepgram_agent.PATH}", extra_headers=headers) as socket,
    ):

        async def told() -> str:
            while not isinstance(text := await socket.get_message(), str):
                pass
            message = json.loads(text)
            return str(message.get("code") or message["type"])

        async def ask(message: Mapping[str, Any]) -> str:
            await socket.send_message(json.dumps(message))
            return await told()

        assert await told() == "Welcome"
        assert await ask(settings()) == "SettingsApplied"
        for message, answer in UPDATES:
            assert await ask(message) == answer
        await socket.send_message(b"\x00\x40" * 4000)  # half a second, loud
        assert await told() == "UserStartedSpeaking"
        assert await ask({"type": "ForceEndTurn"}) == "ConversationText", "the turn is over without a silence"
        await socket.send_message(json.dumps({"type": "UpdateThink", "think": {"provider": {"type": "google"}}}))
        while (code := await told()) != "UNPARSABLE_CLIENT_MESSAGE":
            assert code != "ThinkUpdated"


# --- OpenAI's speech


@pytest.mark.parametrize(
    ("models", "fields", "words"),
    [
        (SPEECH_MODELS, {"model": "kokoro"}, "invalid model ID"),
        (SPEECH_MODELS, {"model": "tts-1", "voice": "thalia"}, "Input should be one of"),
        (SPEECH_MODELS, {"model": "tts-1", "pitch": 1}, "Unknown parameter"),
        (SPEECH_MODELS, {"model": "gpt-4o-mini-tts", "voice": "marin", "stream_format": "audio"}, ""),
        ((COMPATIBLE,), {"model": "kokoro"}, ""),
        ((COMPATIBLE,), {"model": "tts-1"}, "invalid model ID"),
    ],
)
def test_speech_is_refused_by_its_model_and_voice(
    models: Collection[str], fields: Mapping[str, Any], words: str
) -> None:
    asked = {"input": "Hello.", "voice": "alloy", "response_format": "wav", **fields}
    assert speech_complaint(asked, models, own=False).startswith(words)
