"""What a model's server sends with a tool call goes back to it as it came, and to nobody else. Each row names who
reported it: repository and number of its issue or pull request."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agentd.agent import CallInfo
from agentd.history import MOST_SEALED, History, Sealed, Speaker, ToolUse
from agentd.playout import PlayoutBuffer
from agentd_providers.deepgram.voice_agent.events import FunctionCallRequest, parse
from agentd_providers.deepgram.voice_agent.messages import context_messages
from agentd_providers.openai.chat_forms import chat
from agentd_providers.openai.reply import ReplyReader
from agentd_providers.openai.returned import sealed_calls
from agentd_providers.openai.ways import Ways
from agentd_providers.pipeline.answer import Answer
from agentd_providers.pipeline.replies import Replies
from agentd_providers.pipeline.speech_output import SpeechOutput
from agentd_providers.pipeline.stages import Message, PipelineSettings, Role, ToolCall
from agentd_providers.pipeline.tool_requests import ToolRequests
from tests.lab.vendors.chat_refusals import Refused, check_messages

HERE, ELSEWHERE = "http://here/v1 model", "http://elsewhere/v1 model"
SIGNED = {"google": {"thought_signature": "AY89a18IwQ=="}}
NOBODY: Any = None
ASKED = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "What time is it?")]


def replied(*deltas: Mapping[str, Any], server: str = HERE) -> list[ToolCall]:
    """The tool calls of a reply that came in these deltas."""
    reader = ReplyReader(names={"clock", "dial"})
    for delta in deltas:
        reader.feed(f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode())
    reader.feed(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}\n\n')
    ending = reader.end()
    return sealed_calls(ending.calls, ending.message, server)


def asks(name: str = "clock", call: str = "call_1", index: int = 0, **more: Any) -> Mapping[str, Any]:
    return {"index": index, "id": call, "type": "function", "function": {"name": name, "arguments": "{}"}, **more}


def used(calls: Sequence[ToolCall], words: str = "") -> list[Message]:
    """The prompt behind the use of tools, with names of our own as a session gives them."""
    ours = [ToolCall(f"tool{number:05d}", one.name, one.arguments, one.sealed) for number, one in enumerate(calls)]
    return [
        *ASKED,
        Message(Role.ASSISTANT, words, tuple(ours)),
        *(Message(Role.TOOL, "five", call=one.call) for one in ours),
    ]


RETURNED: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, Any], Mapping[str, Any]]] = {
    # tinyhumansai/openhuman#3548, earendil-works/pi#3234: Gemini's signature
    "extra_content": ([{"tool_calls": [asks(extra_content=SIGNED)]}], {}, {"extra_content": SIGNED}),
    # earendil-works/pi#6733: Vertex's form of it
    "extra_content of Vertex": (
        [{"tool_calls": [asks(extra_content={"vertex": {"thought_signature": "x"}})]}],
        {},
        {"extra_content": {"vertex": {"thought_signature": "x"}}},
    ),
    # HKUDS/OpenHarness#338: in a delta of its own, without an index
    "extra_content behind": (
        [{"tool_calls": [asks()]}, {"tool_calls": [{"extra_content": SIGNED}]}],
        {},
        {"extra_content": SIGNED},
    ),
    # google/adk-python#6460, HKUDS/nanobot#2453
    "provider_specific_fields": (
        [{"tool_calls": [asks(provider_specific_fields={"thought_signature": "x"})]}],
        {},
        {"provider_specific_fields": {"thought_signature": "x"}},
    ),
    # Gitlawb/openclaude#878, syt2/paper-chat-for-zotero#16: DeepSeek
    "reasoning_content": (
        [{"reasoning_content": "The time "}, {"reasoning_content": "is asked."}, {"tool_calls": [asks()]}],
        {"reasoning_content": "The time is asked."},
        {},
    ),
    # Oaklight/llm-rosetta#356: an empty one is wanted back too
    "reasoning_content, empty": (
        [{"reasoning_content": "", "content": None}, {"tool_calls": [asks()]}],
        {"reasoning_content": ""},
        {},
    ),
    "reasoning": ([{"reasoning": "Hm."}, {"tool_calls": [asks()]}], {"reasoning": "Hm."}, {}),
    # home-assistant/core#159812, RooCodeInc/Roo-Code#9125, earendil-works/pi#260: OpenRouter
    "reasoning_details": (
        [
            {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "call_1"}]},
            {"tool_calls": [asks()]},
        ],
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm."},
                {"type": "reasoning.encrypted", "data": "x", "id": "call_1"},
            ]
        },
        {},
    ),
    # BerriAI/litellm#16895: the signature is hidden in the id
    "a long id": ([{"tool_calls": [asks(call="call_1__thought__" + "eA" * 3000)]}], {}, {}),
    # Kimi's models read their ids (MoonshotAI/Kimi-K2, docs/tool_call_guidance.md)
    "an id of the model's": ([{"tool_calls": [asks(call="functions.clock:0")]}], {}, {}),
}


@pytest.mark.parametrize("case", RETURNED)
def test_what_came_with_a_call_goes_back_to_its_server_as_it_came(case: str) -> None:
    deltas, of_message, of_call = RETURNED[case]
    *_, asking, result = chat(used(replied(*deltas)), HERE)
    (call,) = asking["tool_calls"]
    sent = next(call for delta in deltas for call in delta.get("tool_calls", ()) if "id" in call)
    assert {name: asking[name] for name in asking if name not in ("role", "content", "tool_calls")} == of_message
    assert {name: call[name] for name in call if name not in ("id", "type", "function")} == of_call
    assert call["id"] == result["tool_call_id"] == sent["id"]


@pytest.mark.parametrize("case", RETURNED)
def test_another_server_is_told_nothing_of_it(case: str) -> None:
    """It may refuse it: seankwalker in BerriAI/litellm#18160, Groq's "property 'reasoning_content' is unsupported"."""
    deltas, _, _ = RETURNED[case]
    messages = chat(used(replied(*deltas)), ELSEWHERE)
    check_messages(messages)
    assert messages[-1]["tool_call_id"] == "tool00000"


def after(history: History) -> list[Message]:
    """The prompt that a session makes of a history which it was handed."""
    settings = PipelineSettings("Be brief.", NOBODY, 32.0, 0.0)
    output = SpeechOutput(PlayoutBuffer(), NOBODY, 8000)
    requests = ToolRequests(history, print)
    replies = Replies(CallInfo("1"), history, output, settings, NOBODY, (), requests, print)
    return replies.messages(Answer(0, 0.0, ""))


def test_calls_that_were_asked_for_together_stay_together_in_the_history_of_another_session() -> None:
    """Gemini signs the first of them only (intrafind/ihub-apps#2240)."""
    first, second = replied({"tool_calls": [asks(extra_content=SIGNED), asks("dial", "call_2", 1)]})
    history = History()
    history.caller_said("What time is it?")
    for one in (first, second):
        history.tool_used(ToolUse(one.name, one.arguments, "five", one.sealed))
    (other,) = replied({"tool_calls": [asks()]})
    history.tool_used(ToolUse(other.name, other.arguments, "six", other.sealed))
    messages = chat(after(history), HERE)
    check = [message["role"] for message in messages[1:]]
    assert check == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert messages[2]["tool_calls"][0]["extra_content"] == SIGNED
    assert [call["id"] for call in messages[2]["tool_calls"]] == ["call_1", "call_2"]


def test_two_calls_of_one_name_are_told_apart() -> None:
    calls = replied({"tool_calls": [asks(call="a"), asks("dial", "a", 1)]})
    check_messages(chat(used(calls), HERE))


def test_what_a_call_keeps_for_its_servers_is_bounded() -> None:
    history = History()
    for number in range(40):
        history.tool_used(ToolUse("clock", "{}", "five", Sealed(HERE, str(number), "x" * 60_000)))
    kept = [turn.tool.sealed for turn in history.turns if turn.tool is not None and turn.tool.sealed is not None]
    assert sum(sealed.size for sealed in kept) <= MOST_SEALED
    assert [sealed.reply for sealed in kept] == [str(number) for number in range(40 - len(kept), 40)]


# --- what another model has asked for, where a server wants the signs of its own

STRANGE = used(replied({"tool_calls": [asks(extra_content=SIGNED)]}, server=ELSEWHERE), "Let me see.")


def test_a_server_that_refuses_calls_without_its_signature_is_told_of_them_in_words() -> None:
    """ "Function call is missing a thought_signature in functionCall parts" (livekit/agents-js#920)."""
    ways = Ways()
    refusal = {"code": 400, "message": "Function call is missing a thought_signature in functionCall parts."}
    assert ways.learn(400, refusal, {"messages": chat(STRANGE, HERE, ways)})
    messages = chat([*STRANGE, Message(Role.USER, "Thanks.")], HERE, ways)
    check_messages(messages)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "Let me see."
    assert "The tool clock was used" in messages[3]["content"] and "five" in messages[3]["content"]
    assert messages[3]["content"].endswith("Thanks.")


def test_its_own_calls_stay_calls() -> None:
    own = used(replied({"tool_calls": [asks(extra_content=SIGNED)]}))
    ways = Ways(strange_tools_told=True)
    assert chat(own, HERE, ways) == chat(own, HERE)


@pytest.mark.parametrize(
    "message",
    [
        "The `reasoning_content` in the thinking mode must be passed back to the API.",  # smallmain/...#286: DeepSeek
        "Missing `reasoning_content` field in the assistant message at message index 2.",  # continuedev/continue#10193
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",  # mnfst#1862
    ],
)
def test_thoughts_that_another_model_did_not_have_are_sent_empty(message: str) -> None:
    """An empty one is accepted everywhere (experientiallabs/experiential#890)."""
    ways = Ways()
    assert ways.learn(400, {"message": message}, {"messages": chat(STRANGE, HERE, ways)})
    assert [one["reasoning_content"] for one in chat(STRANGE, HERE, ways) if one["role"] == "assistant"] == [""]
    assert ways.learn(400, {"message": message}, {}), "and where that is refused too, in words"
    assert ways.strange_tools_told
    assert not ways.learn(400, {"message": message}, {})


def test_a_field_that_its_own_server_refuses_is_not_given_back() -> None:
    """Euyug/Mirai-Gpt-Plugin#4: the older DeepSeek R1."""
    ways, prompt = Ways(), used(replied({"reasoning_content": "Hm."}, {"tool_calls": [asks()]}))
    refusal = {"message": "Please remove the reasoning_content from your message"}
    assert ways.learn(400, refusal, {"messages": chat(prompt, HERE, ways)})
    assert "reasoning_content" not in chat(prompt, HERE, ways)[2]


def test_the_fake_refuses_what_others_do_not_know() -> None:
    with pytest.raises(Refused):
        check_messages(chat(used(replied({"tool_calls": [asks(extra_content=SIGNED)]})), HERE))


# --- Deepgram's agent: functions[].thought_signature (its changelog of 1 April 2026)


def test_deepgram_is_given_its_signatures_back_after_a_renewal() -> None:
    function = {"id": "f1", "name": "clock", "arguments": "{}", "client_side": True, "thought_signature": "c2ln"}
    other = {"id": "f2", "name": "dial", "arguments": "{}", "client_side": True}
    request = parse(json.dumps({"type": "FunctionCallRequest", "functions": [function, other]}))
    assert isinstance(request, FunctionCallRequest)
    history = History()
    history.caller_said("What time is it?")
    for asked in request.functions:
        history.tool_used(ToolUse(asked.name, asked.arguments, "five", asked.sealed))
    _, calls = context_messages(history)
    assert [call.get("thought_signature") for call in calls["function_calls"]] == ["c2ln", None]


def test_deepgram_is_given_no_other_vendor_s() -> None:
    history = History()
    history.tool_used(ToolUse("clock", "{}", "five", Sealed(HERE, "1", json.dumps({"thought_signature": "x"}))))
    (calls,) = context_messages(history)
    assert "thought_signature" not in calls["function_calls"][0]
    assert history.turns[0].speaker is Speaker.TOOL
