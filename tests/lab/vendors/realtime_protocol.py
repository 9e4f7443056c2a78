"""What may be sent to OpenAI's Realtime API (GA), as published, and the error that answers everything else.

https://platform.openai.com/docs/api-reference/realtime-client-events
"""

from collections.abc import Mapping
from typing import Any

# What may be in a message: True for anything, a dict for an object, a list for a list of objects. A name that ends in
# "!" must be there.
_FORMAT = {"type!": True, "rate": True}
_TOOL = {"type!": True, "name!": True, "description": True, "parameters": True}
_TURN_DETECTION = {
    "type!": True, "threshold": True, "prefix_padding_ms": True, "silence_duration_ms": True, "eagerness": True,
    "create_response": True, "interrupt_response": True, "idle_timeout_ms": True,
}  # fmt: skip
_SESSION = {
    "type!": True, "output_modalities": True, "instructions": True, "max_output_tokens": True, "tools": [_TOOL],
    "tool_choice": True, "parallel_tool_calls": True, "reasoning": {"effort": True}, "tracing": True,
    "truncation": True, "prompt": True, "include": True,
    "audio": {
        "input": {
            "format": _FORMAT,
            "noise_reduction": {"type!": True, "strength": True},
            "transcription": {
                "model": True, "language": True, "prompt": True, "languages": True, "keywords": True, "delay": True,
            },
            "turn_detection": _TURN_DETECTION,
        },
        "output": {"format": _FORMAT, "voice": True, "speed": True},
    },
}  # fmt: skip
_ITEM = {
    "id": True, "object": True, "type!": True, "status": True, "role": True, "content": True, "name": True,
    "call_id": True, "arguments": True, "output": True,
}  # fmt: skip
_RESPONSE = {
    "audio": {"output": {"format": _FORMAT, "voice": True}}, "conversation": True, "input": True, "instructions": True,
    "max_output_tokens": True, "metadata": True, "output_modalities": True, "parallel_tool_calls": True, "prompt": True,
    "reasoning": {"effort": True}, "tool_choice": True, "tools": [_TOOL],
}  # fmt: skip
CLIENT_EVENTS: Mapping[str, Mapping[str, Any]] = {
    "session.update": {"session!": _SESSION},
    "input_audio_buffer.append": {"audio!": True},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "conversation.item.create": {"item!": _ITEM, "previous_item_id": True},
    "conversation.item.truncate": {"item_id!": True, "content_index!": True, "audio_end_ms!": True},
    "conversation.item.delete": {"item_id!": True},
    "conversation.item.retrieve": {"item_id!": True},
    "response.create": {"response": _RESPONSE},
    "response.cancel": {"response_id": True},
}
ITEM_NEEDS = {
    "message": ("role", "content"),
    "function_call": ("name", "arguments"),
    "function_call_output": ("call_id", "output"),
}

VOICES = frozenset(["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"])
TRANSCRIPTION_MODELS = frozenset(
    [
        "whisper-1",
        "gpt-transcribe",
        "gpt-live-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe",
        "gpt-4o-transcribe-diarize",
        "gpt-realtime-whisper",
    ]
)
"""openai 3.57, types/realtime/audio_transcription.py."""


class Refused(Exception):
    """What the client asked for is answered by an error event."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def merge(settings: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Change settings by an update of some of them."""
    for name, value in update.items():
        if (
            isinstance(value, dict)
            and isinstance(settings.get(name), dict)
            and name not in ("format", "turn_detection")
        ):
            merge(settings[name], value)
        else:
            settings[name] = value


def check(value: Any, allowed: Any, path: str) -> None:
    """Refuse what is not published, and what lacks a part that must be there."""
    if isinstance(allowed, list) and isinstance(value, list):
        for index, entry in enumerate(value):
            check(entry, allowed[0], f"{path}[{index}]")
    elif isinstance(allowed, dict) and value is not None:
        names = {name.removesuffix("!"): inner for name, inner in allowed.items()}
        if not isinstance(value, dict):
            raise Refused("invalid_type", f"Invalid type for '{path}': expected an object.", path)
        for name in value:
            where = f"{path}.{name}" if path else name
            if name not in names:
                raise Refused("unknown_parameter", f"Unknown parameter: '{where}'.", where)
            check(value[name], names[name], where)
        for name in allowed:
            if name.endswith("!") and name.removesuffix("!") not in value:
                where = f"{path}.{name[:-1]}" if path else name[:-1]
                raise Refused("missing_required_parameter", f"Missing required parameter: '{where}'.", where)


def check_names(audio: Mapping[str, Any], takes_languages: bool) -> None:
    """Voices and models that there are not, and a language told in the form of other models
    (https://developers.openai.com/cookbook/examples/migrating_from_whisper_to_gpt_transcribe)."""
    if audio["output"]["voice"] not in VOICES:
        raise Refused("invalid_value", f"Invalid value: {audio['output']['voice']!r}.", "session.audio.output.voice")
    transcription, where = audio["input"]["transcription"] or {}, "session.audio.input.transcription"
    model = transcription.get("model", "whisper-1")
    if model not in TRANSCRIPTION_MODELS:
        raise Refused("invalid_value", f"Invalid value: {model!r}.", f"{where}.model")
    listed = model in ("gpt-transcribe", "gpt-live-transcribe")
    wrong = "language" if listed and takes_languages else "languages"
    if wrong in transcription:
        raise Refused("unsupported_parameter", f"{wrong!r} is not supported with {model!r}.", f"{where}.{wrong}")
