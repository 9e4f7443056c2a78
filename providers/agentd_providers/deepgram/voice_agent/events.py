"""The messages of Deepgram's Voice Agent, read with care. Pure.

Sources, read in 2026: the specification (AgentV1 in https://github.com/deepgram/deepgram-api-specs, asyncapi.yml) and

* https://developers.deepgram.com/docs/voice-agent-outputs, /docs/voice-agent-message-flow (the order),
* /docs/voice-agent-function-call-request, /docs/voice-agent-function-call-cancelled,
* /docs/voice-agent-latency-report, /docs/voice-agent-errors-warnings.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from agentd.errors import ProviderProtocolError
from agentd.history import Sealed
from agentd_providers.vendor.json_object import SHOWN, parse_object

VENDOR = "Deepgram"
MOST_TEXT = 32_768
"""Characters of a text that Deepgram may send, and of one that it is sent."""
MOST_MESSAGE = 1 << 18
"""Characters of a message: reading a longer one would hold up every call. (Its audio has a limit of its own.)"""
MOST_NAME = 256
MOST_SECONDS = 86_400
MOST_FUNCTIONS = 32


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
class AgentAudio:
    """A piece of the agent's audio (slin), as a binary message brings it: any length, and of no named answer."""

    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")


@attrs.frozen
class AgentAudioDone:
    pass


@attrs.frozen
class FunctionCall:
    """`arguments` is JSON text of the model's, not to be trusted. `sealed` is what Deepgram wants back with it."""

    call: str
    name: str
    arguments: str
    client_side: bool
    sealed: Sealed | None = None


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


Event = (
    Welcome
    | SettingsApplied
    | UserStartedSpeaking
    | UserText
    | AssistantText
    | AgentThinking
    | AgentStartedSpeaking
    | LatencyReport
    | AgentAudio
    | AgentAudioDone
    | FunctionCallRequest
    | FunctionCallCancelled
    | InjectionRefused
    | VendorWarning
    | VendorError
    | Noted
)


def parse(message: str) -> Event | Unknown:
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
    functions = _functions(fields)
    signed = [_signature(function) for function in functions]
    request = _string(functions[0], "id", MOST_NAME) if any(signed) else ""
    return FunctionCallRequest(
        tuple(
            FunctionCall(
                _string(function, "id", MOST_NAME),
                _string(function, "name", MOST_NAME),
                _string(function, "arguments", MOST_TEXT, ""),
                _flag(function, "client_side", default=True),  # as all are that we declare
                Sealed(VENDOR, request, signature) if request else None,
            )
            for function, signature in zip(functions, signed, strict=True)
        )
    )


def _signature(function: Mapping[str, Any]) -> str:
    """Gemini's, which Deepgram passes on (its changelog of 1 April 2026). Empty: there is none that can be kept."""
    signature = function.get("thought_signature")
    return signature if isinstance(signature, str) and len(signature) <= MOST_TEXT else ""


def _functions(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    functions = fields.get("functions")
    if not isinstance(functions, list) or not all(isinstance(function, dict) for function in functions):
        raise ProviderProtocolError(f"{VENDOR}: functions must be a list of objects, not {_shown(functions)}")
    if len(functions) > MOST_FUNCTIONS:
        raise ProviderProtocolError(f"{VENDOR}: {len(functions)} functions at once, more than {MOST_FUNCTIONS}")
    return functions


def _string(fields: Mapping[str, Any], name: str, most: int, default: str | None = None) -> str:
    value = fields.get(name)
    if value is None:
        value = default
    if not isinstance(value, str):
        raise ProviderProtocolError(f"{VENDOR}: {name} must be a string, not {_shown(value)}")
    if len(value) > most:
        raise ProviderProtocolError(f"{VENDOR}: {name} has {len(value)} characters, more than {most}")
    return value


def _flag(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
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


def _words_of(fields: Mapping[str, Any]) -> str:
    """The words of a trouble: its `description`, or the `message` that some have in its place
    (https://github.com/deepgram-devs/sts-twilio/issues/6)."""
    return _string(fields, "description", MOST_TEXT, "") or _string(fields, "message", MOST_TEXT, "")


def _noted(fields: Mapping[str, Any]) -> Noted:
    return Noted(fields["type"])


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Event]] = {
    "Welcome": lambda fields: Welcome(_string(fields, "request_id", MOST_NAME, "")),
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
    "Warning": lambda fields: VendorWarning(_string(fields, "code", MOST_NAME, ""), _words_of(fields)),
    "Error": lambda fields: VendorError(_string(fields, "code", MOST_NAME, ""), _words_of(fields)),
    "FunctionCallResponse": _noted,
    "History": _noted,
    "PromptUpdated": _noted,
    "SpeakUpdated": _noted,
    "ThinkUpdated": _noted,
    "ListenUpdated": _noted,
    "ThinkLiveUpdated": _noted,
    "FrustrationDetected": _noted,
}


def shown(trouble: VendorWarning | VendorError, conceal: Callable[[str], str]) -> str:
    """Deepgram's words for an event or a log: short, and without secrets, which `conceal` takes out."""
    return conceal(f"{trouble.code} {trouble.description}".strip())[:SHOWN]
