"""The messages of Deepgram's Voice Agent: ours as JSON objects, Deepgram's as events. Pure.

Sources, read in 2026: the specification (AgentV1 in https://github.com/deepgram/deepgram-api-specs, asyncapi.yml) and

* https://developers.deepgram.com/docs/voice-agent-message-flow (the order), /docs/configure-voice-agent (Settings),
* /docs/voice-agent-history, /docs/voice-agent-function-call-request, /docs/voice-agent-function-call-cancelled,
* /docs/voice-agent-inject-agent-message, /docs/voice-agent-latency-report, /docs/voice-agent-errors-warnings.

Deepgram ends a session over a field that it does not know, and over a 16000.0 where it wants 16000.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from agentd.agent import ToolDeclaration
from agentd.errors import ProviderProtocolError
from agentd.history import History, Speaker, Turn
from providers.deepgram.listen_messages import language_code
from providers.deepgram.settings import AgentSpeakSettings, AgentThinkSettings, DeepgramAgentSettings, SpeakProvider
from providers.vendor_socket import SHOWN, parse_object

VENDOR = "Deepgram"
MOST_TEXT = 32_768
"""Characters of a text that Deepgram may send, and of one that it is sent."""
MOST_MESSAGE = 1 << 18
"""Characters of a message: reading a longer one would hold up every call. (Its audio has a limit of its own.)"""
MOST_NAME = 256
MOST_SECONDS = 86_400
MOST_FUNCTIONS = 32
MOST_HISTORY = 200
"""Turns that a session is handed over; the oldest go."""
GO_ON = "(The line was interrupted for a moment. Please go on where you stopped.)"


# --- ours ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Keys:
    """The secrets that Settings holds, for the servers that Deepgram calls."""

    think: str = attrs.field(default="", repr=False)
    speak: str = attrs.field(default="", repr=False)


def settings_message(
    settings: DeepgramAgentSettings,
    rate: int,
    *,
    language: str,
    prompt: str,
    history: History,
    tools: Sequence[ToolDeclaration],
    keys: Keys,
) -> dict[str, Any]:
    """The message that begins a session. `rate` (Hz) is that of both directions. The turn of the caller's that is open
    is left out of the history: `resumption` gives it again."""
    audio = {"encoding": "linear16", "sample_rate": rate}
    think: dict[str, Any] = {"provider": _think_provider(settings.think), "prompt": prompt}
    if settings.think.endpoint_url:
        think["endpoint"] = _endpoint(settings.think, keys.think)
    if tools:
        think["functions"] = [_function(tool) for tool in tools]
    speak: dict[str, Any] = {"provider": _speak_provider(settings.speak, language)}
    if settings.speak.endpoint_url:
        speak["endpoint"] = _endpoint(settings.speak, keys.speak)
    agent: dict[str, Any] = {
        "listen": {"provider": _listen_provider(settings, language)},
        "think": think,
        "speak": speak,
    }
    if messages := context_messages(history):
        agent["context"] = {"messages": messages}
    message: dict[str, Any] = {
        "type": "Settings",
        "audio": {"input": audio, "output": {**audio, "container": "none"}},
        "agent": agent,
    }
    if settings.mip_opt_out:
        message["mip_opt_out"] = True
    if settings.tags:
        message["tags"] = list(settings.tags)
    return message


def _listen_provider(settings: DeepgramAgentSettings, language: str) -> dict[str, Any]:
    listen = settings.listen
    provider: dict[str, Any] = {"type": "deepgram", "version": "v2" if listen.is_flux else "v1", "model": listen.model}
    if not listen.is_flux:
        provider["language"] = language_code(language)
        if listen.smart_format:
            provider["smart_format"] = True
    elif listen.model.endswith("multi"):
        provider["language_hints"] = [language.split("-")[0].lower()]
    if listen.eot_threshold:
        provider["eot_threshold"] = listen.eot_threshold
    if listen.eot_timeout_ms:
        provider["eot_timeout_ms"] = listen.eot_timeout_ms
    if listen.keyterms:
        provider["keyterms"] = list(listen.keyterms)
    return provider


def _think_provider(think: AgentThinkSettings) -> dict[str, Any]:
    provider: dict[str, Any] = {"type": str(think.provider), "model": think.model}
    if think.temperature >= 0:
        provider["temperature"] = think.temperature
    return provider


def _speak_provider(speak: AgentSpeakSettings, language: str) -> dict[str, Any]:
    match speak.provider:
        case SpeakProvider.DEEPGRAM:
            return {"type": "deepgram", "model": speak.model}
        case SpeakProvider.ELEVEN_LABS:
            return {"type": "eleven_labs", "model_id": speak.model, "language": language}
        case SpeakProvider.CARTESIA:
            return {
                "type": "cartesia",
                "model_id": speak.model,
                "voice": {"mode": "id", "id": speak.voice},
                "language": language.split("-")[0].lower(),
            }
        case SpeakProvider.OPEN_AI:
            return {"type": "open_ai", "model": speak.model, "voice": speak.voice}


def _endpoint(part: AgentThinkSettings | AgentSpeakSettings, key: str) -> dict[str, Any]:
    value = f"Bearer {key}" if part.api_key_header.lower() == "authorization" else key
    return {"url": part.endpoint_url, "headers": {part.api_key_header: value} if key else {}}


def _function(tool: ToolDeclaration) -> dict[str, Any]:
    """A function without an endpoint is the client's to call."""
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def context_messages(history: History) -> list[dict[str, Any]]:
    """The conversation so far, without the turn that `resumption` gives again."""
    turns = history.turns[:-1] if _open_turn(history) else history.turns
    messages = [_history_message(number, turn) for number, turn in enumerate(turns) if turn.text or turn.tool]
    return messages[-MOST_HISTORY:]


def _history_message(number: int, turn: Turn) -> dict[str, Any]:
    if turn.tool is None:
        role = "user" if turn.speaker is Speaker.CALLER else "assistant"
        return {"type": "History", "role": role, "content": turn.text[:MOST_TEXT]}
    return {
        "type": "History",
        "function_calls": [
            {
                "id": f"history-{number}",
                "name": turn.tool.name,
                "client_side": True,
                "arguments": turn.tool.arguments,
                "response": turn.tool.result[:MOST_TEXT],
            }
        ],
    }


def _open_turn(history: History) -> Turn | None:
    """The caller's turn that nothing has followed: not even a tool, which must not be used twice for it."""
    last = history.turns[-1] if history.turns else None
    return last if last is not None and last.speaker is Speaker.CALLER else None


def resumption(history: History) -> str:
    """What a session is told as the caller's words that takes another's place; empty: it waits for the caller."""
    if turn := _open_turn(history):
        return turn.text
    return GO_ON if history.owed or history.broken_off else ""


def inject_user_message(text: str) -> dict[str, Any]:
    """Text as if the caller had said it."""
    return {"type": "InjectUserMessage", "content": text[:MOST_TEXT]}


def inject_agent_message(text: str) -> dict[str, Any]:
    """Words for the agent to speak now; it refuses while the caller or the agent is in the middle of a turn."""
    return {"type": "InjectAgentMessage", "message": text[:MOST_TEXT]}


def function_call_response(call: str, name: str, content: str) -> dict[str, Any]:
    """What a function gave; one message for each of them."""
    return {"type": "FunctionCallResponse", "id": call, "name": name, "content": content[:MOST_TEXT]}


KEEP_ALIVE: Mapping[str, Any] = {"type": "KeepAlive"}


# --- Deepgram's ---------------------------------------------------------------------------------------------


@attrs.frozen
class Welcome:
    request_id: str


@attrs.frozen
class SettingsApplied:
    pass


@attrs.frozen
class UserStartedSpeaking:
    pass


@attrs.frozen
class UserText:
    """The caller's turn is confirmed; its words (ConversationText, role user)."""

    text: str


@attrs.frozen
class AssistantText:
    """Words that the agent speaks, or is about to (ConversationText, role assistant)."""

    text: str


@attrs.frozen
class AgentThinking:
    pass


@attrs.frozen
class AgentStartedSpeaking:
    """Seconds; None where Deepgram does not tell."""

    first_token: float | None
    first_audio: float | None


@attrs.frozen
class LatencyReport:
    """Seconds that parts of an answer took. One answer may have several reports, each of some parts."""

    transcript: float | None
    first_token: float | None
    first_audio: float | None


@attrs.frozen
class AgentAudioDone:
    pass


@attrs.frozen
class FunctionCall:
    """`arguments` is JSON text of the model's, not to be trusted."""

    call: str
    name: str
    arguments: str
    client_side: bool


@attrs.frozen
class FunctionCallRequest:
    functions: tuple[FunctionCall, ...]


@attrs.frozen
class FunctionCallCancelled:
    calls: tuple[str, ...]


@attrs.frozen
class InjectionRefused:
    message: str


@attrs.frozen
class VendorWarning:
    code: str
    description: str


@attrs.frozen
class VendorError:
    code: str
    description: str


@attrs.frozen
class Noted:
    """A message that is known, and of no use to us."""

    type: str


@attrs.frozen
class Unknown:
    """A message of a type that we do not know."""

    type: str


ServerMessage = (
    Welcome
    | SettingsApplied
    | UserStartedSpeaking
    | UserText
    | AssistantText
    | AgentThinking
    | AgentStartedSpeaking
    | LatencyReport
    | AgentAudioDone
    | FunctionCallRequest
    | FunctionCallCancelled
    | InjectionRefused
    | VendorWarning
    | VendorError
    | Noted
    | Unknown
)


def parse(message: str) -> ServerMessage:
    """A text message of Deepgram's. Raises ProviderProtocolError for one that is no JSON object with a type, or is too
    long, and for a known one that lacks what it must have, or has it of the wrong type or too long."""
    if len(message) > MOST_MESSAGE:
        raise ProviderProtocolError(f"{VENDOR}: a message of {len(message)} characters, more than {MOST_MESSAGE}")
    fields = parse_object(VENDOR, message)
    kind = _string(fields, "type", MOST_NAME)
    reader = _READERS.get(kind)
    return reader(fields) if reader is not None else Unknown(kind)


def _conversation_text(fields: Mapping[str, Any]) -> UserText | AssistantText:
    text = _string(fields, "content", MOST_TEXT).strip()
    match fields.get("role"):
        case "user":
            return UserText(text)
        case "assistant":
            return AssistantText(text)
    raise ProviderProtocolError(f"{VENDOR}: a ConversationText of nobody: role {_shown(fields.get('role'))}")


def _function_calls(fields: Mapping[str, Any]) -> FunctionCallRequest:
    return FunctionCallRequest(
        tuple(
            FunctionCall(
                _string(function, "id", MOST_NAME),
                _string(function, "name", MOST_NAME),
                _string(function, "arguments", MOST_TEXT),
                _flag(function, "client_side"),
            )
            for function in _functions(fields)
        )
    )


def _functions(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    functions = fields.get("functions")
    if not isinstance(functions, list) or not all(isinstance(function, dict) for function in functions):
        raise ProviderProtocolError(f"{VENDOR}: functions must be a list of objects, not {_shown(functions)}")
    if len(functions) > MOST_FUNCTIONS:
        raise ProviderProtocolError(f"{VENDOR}: {len(functions)} functions at once, more than {MOST_FUNCTIONS}")
    return functions


def _string(fields: Mapping[str, Any], name: str, most: int, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise ProviderProtocolError(f"{VENDOR}: {name} must be a string, not {_shown(value)}")
    if len(value) > most:
        raise ProviderProtocolError(f"{VENDOR}: {name} has {len(value)} characters, more than {most}")
    return value


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise ProviderProtocolError(f"{VENDOR}: {name} must be true or false, not {_shown(value)}")
    return value


def _seconds(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_SECONDS:
        raise ProviderProtocolError(f"{VENDOR}: {name} must be seconds, not {_shown(value)}")
    return float(value)


def _shown(value: object) -> str:
    match value:
        case str():
            return repr(value[:SHOWN])
        case int() | float() | None:
            return repr(value)[:SHOWN]
    return type(value).__name__  # what is in it may be long, and deep


def _noted(fields: Mapping[str, Any]) -> Noted:
    return Noted(fields["type"])


_READERS: Mapping[str, Callable[[Mapping[str, Any]], ServerMessage]] = {
    "Welcome": lambda fields: Welcome(_string(fields, "request_id", MOST_NAME)),
    "SettingsApplied": lambda _fields: SettingsApplied(),
    "UserStartedSpeaking": lambda _fields: UserStartedSpeaking(),
    "ConversationText": _conversation_text,
    "AgentThinking": lambda _fields: AgentThinking(),  # its text is the model's own thought
    "AgentStartedSpeaking": lambda fields: AgentStartedSpeaking(
        _seconds(fields, "ttt_latency"), _seconds(fields, "tts_latency")
    ),
    "LatencyReport": lambda fields: LatencyReport(
        _seconds(fields, "stt_latency"), _seconds(fields, "ttt_token_latency"), _seconds(fields, "tts_latency")
    ),
    "AgentAudioDone": lambda _fields: AgentAudioDone(),
    "FunctionCallRequest": _function_calls,
    "FunctionCallCancelled": lambda fields: FunctionCallCancelled(
        tuple(_string(function, "id", MOST_NAME) for function in _functions(fields))
    ),
    # The specification has its message as required, the page about it shows none.
    "InjectionRefused": lambda fields: InjectionRefused(_string(fields, "message", MOST_TEXT, "")),
    "Warning": lambda fields: VendorWarning(
        _string(fields, "code", MOST_NAME, ""), _string(fields, "description", MOST_TEXT, "")
    ),
    "Error": lambda fields: VendorError(
        _string(fields, "code", MOST_NAME, ""), _string(fields, "description", MOST_TEXT, "")
    ),
    "FunctionCallResponse": _noted,
    "History": _noted,
    "PromptUpdated": _noted,
    "SpeakUpdated": _noted,
    "ThinkUpdated": _noted,
    "ListenUpdated": _noted,
}
