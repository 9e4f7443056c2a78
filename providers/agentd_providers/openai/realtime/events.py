"""The messages of OpenAI's Realtime API (GA), read with care. Pure.

The messages: https://platform.openai.com/docs/api-reference/realtime-server-events. An `item` is a piece of the
conversation as the server keeps it (a message, a function call, its result); a `response` is one answer of the model's,
of one or more items.

Servers that speak the same leave out what they think nobody needs, or have it null, fields that OpenAI always sends
too. What a turn can do without is never asked for: a message is refused only for what is there and is no such thing.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from agentd.errors import ProviderProtocolError

VENDOR = "OpenAI Realtime"
PURPOSE = "agentd"
"""The metadata by which a response that we asked for is known again."""
LONGEST_ID = 128
LONGEST_TEXT = 64 * 1024
"""Characters of words, of a tool's arguments, of an error."""
UNNAMED = "unnamed"
"""In place of an item's id, where none is told."""
MOST_CALLS = 16
"""Tools that one response may ask for."""


@attrs.frozen
class SessionCreated:
    """The first message. `expires_at`: seconds since 1970; 0 where it is not told."""

    expires_at: float


@attrs.frozen
class SessionUpdated:
    """Our session.update was accepted."""


@attrs.frozen
class VendorError:
    """The server did not do what it was asked to, or is in trouble. Most errors leave the session as it was."""

    kind: str
    code: str
    message: str
    param: str = ""
    cause: str = ""
    """The event_id of what we sent; not every error tells it."""


@attrs.frozen
class SpeechStarted:
    """The caller speaks. `audio_start_ms` counts the audio that was sent, with the padding before the onset; None where
    it is not told."""

    item: str
    audio_start_ms: float | None = None


@attrs.frozen
class SpeechStopped:
    """The caller's turn is over. `audio_end_ms` counts the audio that was sent, with the silence that decided it; None
    where it is not told."""

    item: str
    audio_end_ms: float | None = None


@attrs.frozen
class Transcribed:
    """The caller's words. It may come long after the answer to it."""

    item: str
    text: str


@attrs.frozen
class TranscriptionFailed:
    """The caller's words are not known as text."""

    item: str
    message: str


@attrs.frozen
class ResponseCreated:
    """A response begins; `tag` is that of `say_create`."""

    response: str
    tag: str = ""


@attrs.frozen
class AudioDelta:
    """Audio of a response, in the session's format."""

    response: str
    item: str
    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")


@attrs.frozen
class TranscriptDelta:
    """Words of a response's audio; they may run ahead of it."""

    response: str
    item: str
    text: str


@attrs.frozen
class FunctionCall:
    """A tool that the model asks for; `arguments` is JSON text that nobody has checked."""

    call: str
    name: str
    arguments: str


@attrs.frozen
class ItemDone:
    """All of an item has come. `call`: where it is one."""

    response: str
    item: str
    call: FunctionCall | None = None


@attrs.frozen
class ResponseDone:
    """A response is over. `status`: completed, cancelled, failed or incomplete; `reason`: why it is not completed (for
    a failed one the error's code), `message`: the error's words. `calls` is None where its items are not told again."""

    response: str
    status: str
    reason: str = ""
    message: str = ""
    calls: tuple[FunctionCall, ...] | None = ()


@attrs.frozen
class RateLimit:
    """How much of a limit is left."""

    name: str
    limit: float
    remaining: float
    reset_seconds: float


@attrs.frozen
class RateLimits:
    """The limits that are left after a response."""

    limits: tuple[RateLimit, ...]


@attrs.frozen
class Unknown:
    """A message of a type that was not published when this was written."""

    type: str


Event = (
    SessionCreated
    | SessionUpdated
    | VendorError
    | SpeechStarted
    | SpeechStopped
    | Transcribed
    | TranscriptionFailed
    | ResponseCreated
    | AudioDelta
    | TranscriptDelta
    | ItemDone
    | ResponseDone
    | RateLimits
)

IGNORED = frozenset({
    "conversation.created", "conversation.item.added", "conversation.item.created", "conversation.item.done",
    "conversation.item.deleted", "conversation.item.retrieved", "conversation.item.truncated",
    "conversation.item.input_audio_transcription.delta", "conversation.item.input_audio_transcription.segment",
    "input_audio_buffer.committed", "input_audio_buffer.cleared", "input_audio_buffer.timeout_triggered",
    "input_audio_buffer.dtmf_event_received",
    "output_audio_buffer.started", "output_audio_buffer.stopped", "output_audio_buffer.cleared",
    "response.output_item.added", "response.content_part.added", "response.content_part.done",
    "response.output_audio.done", "response.output_audio_transcript.done",
    "response.audio.done", "response.audio_transcript.done",
    "response.output_text.delta", "response.output_text.done",
    "response.function_call_arguments.delta", "response.function_call_arguments.done",
    "mcp_list_tools.in_progress", "mcp_list_tools.completed", "mcp_list_tools.failed",
    "response.mcp_call_arguments.delta", "response.mcp_call_arguments.done",
    "response.mcp_call.in_progress", "response.mcp_call.completed", "response.mcp_call.failed",
})  # fmt: skip
"""Published types that tell us nothing that we need."""


def parse(message: Mapping[str, Any]) -> Event | Unknown | None:
    """A message of the server's; None for one of a type in IGNORED. Raises ProviderProtocolError for one that is not
    as published."""
    kind = message.get("type")
    if not isinstance(kind, str):
        raise ProviderProtocolError(f"{VENDOR}: expected a message with a type, got {type(kind).__name__}")
    if read := _READERS.get(kind):
        return read(_Fields(kind, message))
    return None if kind in IGNORED else Unknown(kind[:LONGEST_ID])


@attrs.frozen
class _Fields:
    """An object of a message, read with care; `where` is its place, for errors."""

    where: str
    fields: Mapping[str, Any]

    def text(self, name: str, longest: int = LONGEST_TEXT, default: str | None = None) -> str:
        value = self.fields.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or len(value) > longest:
            raise self.wrong(name, f"a text of at most {longest} characters")
        return value

    def id(self, name: str) -> str:
        """An id; empty where none is told."""
        return self.text(name, LONGEST_ID, default="")

    def item(self, name: str = "item_id") -> str:
        return self.id(name) or UNNAMED

    def number(self, name: str) -> float | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
            raise self.wrong(name, "a number")
        return float(value)

    def object(self, name: str) -> "_Fields":
        """An object; empty where there is none."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return _Fields(f"{self.where}: {name}", value or {})

    def objects(self, name: str, most: int) -> list["_Fields"]:
        """The objects of a list; what is null in it is passed over."""
        value = self.fields.get(name)
        entries = [] if value is None else value
        if not isinstance(entries, list) or len(entries) > most:
            raise self.wrong(name, f"a list of at most {most} objects")
        entries = [entry for entry in entries if entry is not None]
        if not all(isinstance(entry, dict) for entry in entries):
            raise self.wrong(name, f"a list of at most {most} objects")
        return [_Fields(f"{self.where}: {name}", entry) for entry in entries]

    def base64(self, name: str) -> bytes:
        value = self.text(name, longest=1 << 24, default="")
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong(name, "base64") from None

    def wrong(self, name: str, expected: str) -> ProviderProtocolError:
        """An error that holds nothing of the message: it may be large, and is not for logs."""
        got = type(self.fields.get(name)).__name__
        return ProviderProtocolError(f"{VENDOR}: {self.where}: expected {expected} as {name}, got {got}")


def _session_created(fields: _Fields) -> SessionCreated:
    return SessionCreated(fields.object("session").number("expires_at") or 0)


def _error(fields: _Fields) -> VendorError:
    error = fields.object("error") if fields.fields.get("error") is not None else fields
    return VendorError(
        error.text("type", default=""),
        error.text("code", default=""),
        error.text("message", default=""),
        error.text("param", default=""),
        error.text("event_id", default="") if error is not fields else "",
    )


def _response_created(fields: _Fields) -> ResponseCreated:
    response = fields.object("response")
    return ResponseCreated(response.id("id"), response.object("metadata").text(PURPOSE, LONGEST_ID, default=""))


def _audio(fields: _Fields) -> AudioDelta:
    return AudioDelta(fields.id("response_id"), fields.item(), fields.base64("delta"))


def _transcript(fields: _Fields) -> TranscriptDelta:
    return TranscriptDelta(fields.id("response_id"), fields.item(), fields.text("delta", default=""))


def _item_done(fields: _Fields) -> ItemDone:
    item = fields.object("item")
    return ItemDone(fields.id("response_id"), item.item("id"), _function_call(item))


def _function_call(item: _Fields) -> FunctionCall | None:
    """The call that an item is; None for another one, and for one without a name to call or an id to answer to."""
    if item.fields.get("type") != "function_call":
        return None
    call, name = item.id("call_id") or item.id("id"), item.id("name")
    return FunctionCall(call, name, item.text("arguments", default="")) if call and name else None


def _response_done(fields: _Fields) -> ResponseDone:
    response = fields.object("response")
    details = response.object("status_details")
    error = details.object("error")
    status = response.text("status", default="") or details.text("type", default="")
    calls = [call for item in response.objects("output", 4 * MOST_CALLS) if (call := _function_call(item))]
    if len(calls) > MOST_CALLS:
        raise response.wrong("output", f"at most {MOST_CALLS} function calls")
    return ResponseDone(
        response.id("id") or fields.id("response_id"),
        status or ("failed" if error.fields else "completed"),
        details.text("reason", default="") or error.text("code", default="") or error.text("type", default=""),
        error.text("message", default=""),
        None if response.fields.get("output") is None else tuple(calls),
    )


def _rate_limits(fields: _Fields) -> RateLimits:
    limits: list[RateLimit] = []
    for told in fields.objects("rate_limits", 16):
        name, limit, remaining = told.id("name"), told.number("limit"), told.number("remaining")
        if name and limit is not None and remaining is not None:
            limits.append(RateLimit(name, limit, remaining, told.number("reset_seconds") or 0))
    return RateLimits(tuple(limits))


_READERS: Mapping[str, Callable[[_Fields], Event]] = {
    "session.created": _session_created,
    "session.updated": lambda _fields: SessionUpdated(),
    "error": _error,
    "input_audio_buffer.speech_started": lambda f: SpeechStarted(f.item(), f.number("audio_start_ms")),
    "input_audio_buffer.speech_stopped": lambda f: SpeechStopped(f.item(), f.number("audio_end_ms")),
    "conversation.item.input_audio_transcription.completed": lambda f: Transcribed(
        f.item(), f.text("transcript", default="")
    ),
    "conversation.item.input_audio_transcription.failed": lambda f: TranscriptionFailed(
        f.item(), f.object("error").text("message", default="")
    ),
    "response.created": _response_created,
    "response.output_audio.delta": _audio,
    "response.output_audio_transcript.delta": _transcript,
    "response.audio.delta": _audio,  # the two names before GA, which compatible servers have kept
    "response.audio_transcript.delta": _transcript,
    "response.output_item.done": _item_done,
    "response.done": _response_done,
    "rate_limits.updated": _rate_limits,
}


def shown(message: str) -> str:
    """The server's words for a log: short, and without a key, of which they may repeat a part."""
    return re.sub(r"\bsk-\S+", "sk-***", message)[:300]
