"""What chat servers refuse of a request, in their own words, each with who reported it: repository and number of an
issue or pull request. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

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
TOOL_NAME, LONGEST_ID, LONGEST_DESCRIPTION, MOST_TOOLS = re.compile("^[a-zA-Z0-9_-]{1,64}$"), 40, 1024, 128
EFFORTS = ("none", "low", "medium", "high", "xhigh")
CHARACTERS_A_TOKEN = 4
UNANSWERED = "an assistant message with 'tool_calls' must be followed by tool messages responding to each of them"


class Kind(StrEnum):
    """Whose model it is: what is asked of it, and what has to come back to it."""

    PLAIN = "plain"
    """Does not reason: gpt-4o, most of vLLM's and Ollama's."""
    REASONING = "reasoning"
    """Of OpenAI's newer ones: reasons unless it is told not to."""
    ALWAYS_REASONING = "always reasoning"
    """gpt-6-astra: cannot be told not to, and so takes no tools (genkit-ai/genkit#6303, bolna-ai/bolna#1019)."""
    SIGNING = "signing"
    """Gemini 3: its tool calls are signed."""
    THINKING = "thinking"
    """DeepSeek: its thoughts come beside its words."""


REASONING = frozenset({Kind.REASONING, Kind.ALWAYS_REASONING})


@attrs.define
class Refused(Exception):
    """The request is wrong. `lesson`: it is asked once more in another way by who has learnt from it."""

    message: str
    status: int = 400
    param: str | None = None
    code: str | None = None
    lesson: bool = False

    def __str__(self) -> str:
        return self.message

    @property
    def body(self) -> Mapping[str, Any]:
        """The answer's."""
        kind = "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def check(body: Any, model: str, kind: Kind, *, takes_tools: bool, context: int) -> Mapping[str, Any]:
    """A request to a server with this one model, which reads `context` tokens. Raises Refused."""
    if not isinstance(body, dict):
        raise Refused("the body is no object")
    if unknown := set(body) - FIELDS:
        raise Refused(f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}")
    if body.get("model") != model:  # Aider-AI/aider#2030
        named = f"The model `{body.get('model')}` does not exist or you do not have access to it."
        raise Refused(named, 404, code="model_not_found")
    if body.get("stream") is not True:
        raise Refused("this fake only streams")
    _check_parameters(body, kind)
    if "tools" in body:
        _check_tools(body["tools"], takes_tools=takes_tools)
        # BerriAI/litellm#34569, GEMISIS/leviath#333; dotnet/extensions#7407 where the effort was set
        if kind in REASONING and body.get("reasoning_effort") != "none":
            raise Refused(
                f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. To use "
                "function tools, use /v1/responses or set reasoning_effort to 'none'.",
                param="reasoning_effort",
                lesson=True,
            )
    check_messages(body.get("messages"), kind)
    tokens = len(json.dumps(body["messages"])) // CHARACTERS_A_TOKEN
    if tokens > context:  # crewAIInc/crewAI-examples#121
        raise Refused(
            f"This model's maximum context length is {context} tokens. However, your messages resulted in {tokens} "
            "tokens. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )
    return body


def _check_parameters(body: Mapping[str, Any], kind: Kind) -> None:
    effort = body.get("reasoning_effort")
    if kind not in REASONING:
        if effort is not None:  # davidmigloz/langchain_dart#712, generative-computing/mellea#270
            raise Refused("Unrecognized request argument supplied: reasoning_effort", lesson=True)
    else:
        if "max_tokens" in body:  # anomalyco/opencode#37964, OpenHands/software-agent-sdk#1083
            raise Refused(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.",
                param="max_tokens",
                code="unsupported_parameter",
                lesson=True,
            )
        if (temperature := body.get("temperature", 1)) != 1:  # tmc/langchaingo#1355
            raise Refused(
                f"Unsupported value: 'temperature' does not support {temperature} with this model. Only the default "
                "(1) value is supported.",
                param="temperature",
                code="unsupported_value",
                lesson=True,
            )
        efforts = EFFORTS if kind is Kind.REASONING else EFFORTS[1:]
        if effort is not None and effort not in efforts:  # livekit/agents#6153
            allowed = ", ".join(map(repr, efforts))
            raise Refused(
                f"Unsupported value: 'reasoning_effort' does not support {effort!r} with this model. Supported values "
                f"are: {allowed}.",
                param="reasoning_effort",
                code="unsupported_value",
                lesson=True,
            )
    for name in ("max_tokens", "max_completion_tokens"):  # openai-openapi, CreateChatCompletionRequest
        if name in body and (type(body[name]) is not int or body[name] < 1):
            raise Refused(f"Invalid type for '{name}': expected an integer of at least 1", param=name)
    if not 0 <= body.get("temperature", 1) <= 2:
        raise Refused("Invalid 'temperature': expected a value from 0 to 2", param="temperature")


def _check_tools(tools: Any, *, takes_tools: bool) -> None:
    if not takes_tools:
        raise Refused('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')
    if not isinstance(tools, list) or not tools:
        raise Refused("[] is too short - 'tools'")
    if len(tools) > MOST_TOOLS:  # vishalmysore/Tools4AI#16
        raise Refused(f"Invalid 'tools': array too long. Expected an array with maximum length {MOST_TOOLS}.")
    for number, tool in enumerate(tools):
        function = tool.get("function", {})
        if set(tool) != {"type", "function"} or set(function) - {"name", "description", "parameters", "strict"}:
            raise Refused("a tool with fields that it does not have")
        at = f"tools[{number}].function"
        if not TOOL_NAME.match(function.get("name", "")):  # run-llama/llama_index#16093
            raise Refused(
                f"Invalid '{at}.name': string does not match pattern. Expected a string that matches the pattern "
                "'^[a-zA-Z0-9_-]+$'.",
                param=f"{at}.name",
                code="invalid_value",
            )
        if len(function.get("description", "")) > LONGEST_DESCRIPTION:  # nanbingxyz/5ire#33
            longest = f"Expected a string with maximum length {LONGEST_DESCRIPTION}"
            raise Refused(f"Invalid '{at}.description': string too long. {longest}", param=f"{at}.description")
        if function.get("parameters", {}).get("type") != "object":
            raise Refused("Invalid schema for function: schema must be a JSON Schema of 'type: \"object\"'")


def check_messages(messages: Any, kind: Kind = Kind.PLAIN) -> None:
    """Each message's fields, that every tool call is answered before anything else is said, and that what the model
    wants back is there. Raises Refused."""
    if not isinstance(messages, list) or not messages:
        raise Refused("[] is too short - 'messages'")
    owed: set[str] = set()
    for number, message in enumerate(messages):
        role = message.get("role")
        known = MESSAGE_FIELDS.get(role, set())
        if role == "assistant" and kind is Kind.THINKING:
            known = known | {"reasoning_content"}
        if set(message) - known or (role == "system" and number):
            raise Refused(f"messages[{number}]: not a message: {sorted(message)} of role {role!r}")
        if role == "tool":
            if message.get("tool_call_id") not in owed or not isinstance(message.get("content"), str):
                raise Refused("messages with role 'tool' must be a response to a preceding message with 'tool_calls'")
            owed.discard(message["tool_call_id"])
            continue
        if owed:
            raise Refused(UNANSWERED)
        calls = message.get("tool_calls", [])
        if not isinstance(message.get("content"), str) and not calls:
            raise Refused(f"messages[{number}].content: expected a string")
        _check_calls(number, calls, kind)
        if calls and kind is Kind.THINKING and not isinstance(message.get("reasoning_content"), str):
            # Gitlawb/openclaude#878, syt2/paper-chat-for-zotero#16
            raise Refused("The reasoning_content in the thinking mode must be passed back to the API.", lesson=True)
        owed = {call["id"] for call in calls}
        if len(owed) != len(calls):
            raise Refused("duplicate tool call ids")
    if owed:
        raise Refused(UNANSWERED)
    if kind is Kind.SIGNING:
        _check_signatures(messages)


def _check_calls(number: int, calls: Sequence[Mapping[str, Any]], kind: Kind) -> None:
    more = {"extra_content"} if kind is Kind.SIGNING else set()
    for at, call in enumerate(calls):
        fields = set(call) - more
        if fields != {"id", "type", "function"} or set(call["function"]) != {"name", "arguments"}:
            raise Refused(f"messages[{number}].tool_calls: not a call")
        if len(call["id"]) > LONGEST_ID:  # vercel/ai#5171, microsoft/autogen#6377
            raise Refused(
                f"Invalid 'messages[{number}].tool_calls[{at}].id': string too long. Expected a string with maximum "
                f"length {LONGEST_ID}, but got a string with length {len(call['id'])} instead.",
                param=f"messages[{number}].tool_calls[{at}].id",
                code="string_above_max_length",
            )
        json.loads(call["function"]["arguments"])


def _check_signatures(messages: Sequence[Mapping[str, Any]]) -> None:
    """Of the calls of the turn that goes on, the first of each message is signed: tinyhumansai/openhuman#3548,
    earendil-works/pi#3234; https://ai.google.dev/gemini-api/docs/thought-signatures."""
    for message in _of_this_turn(messages):
        calls = message.get("tool_calls")
        if calls and not calls[0].get("extra_content", {}).get("google", {}).get("thought_signature"):
            name = calls[0]["function"]["name"]
            raise Refused(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Additional data, function call `default_api:{name}`, position 2.",
                lesson=True,
            )


def _of_this_turn(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in reversed(messages):
        if message["role"] == "user":
            return
        yield message
