"""Our messages to OpenAI's Realtime API (GA). Pure; what it tells us is in events.

The messages: https://platform.openai.com/docs/api-reference/realtime-client-events, how they go together:
https://platform.openai.com/docs/guides/realtime-conversations.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from agentd.agent import ToolDeclaration
from agentd.history import History, Speaker, Turn
from agentd_providers.model_names import LANGUAGES_ARE_LISTED
from agentd_providers.openai.realtime.events import PURPOSE
from agentd_providers.openai.realtime.settings import (
    Detection,
    NoiseReduction,
    RealtimeAudioFormat,
    RealtimeSettings,
    Reasoning,
)

Message = Mapping[str, Any]

MOST_TURNS = 200
"""Turns of the conversation so far that a new session is given."""
TRUNCATE, DELETE, CANCEL = "agentd-truncate", "agentd-delete", "agentd-cancel"
"""The event_id of messages that may come too late to be carried out: an error that names one does no harm."""

_FORMATS: Mapping[RealtimeAudioFormat, Message] = {
    RealtimeAudioFormat.PCM16: {"type": "audio/pcm", "rate": 24000},
    RealtimeAudioFormat.G711_ULAW: {"type": "audio/pcmu"},
    RealtimeAudioFormat.G711_ALAW: {"type": "audio/pcma"},
}


class LanguageHint(StrEnum):
    """How a transcription is told its language: newer models take a list, those before them one (both are refused:
    https://developers.openai.com/cookbook/examples/migrating_from_whisper_to_gpt_transcribe)."""

    LIST = "languages"
    ONE = "language"
    NONE = ""


def language_hint(model: str) -> LanguageHint:
    """The hint that a model takes."""
    return LanguageHint.LIST if model in LANGUAGES_ARE_LISTED else LanguageHint.ONE


def refuses_language(param: str, message: str) -> bool:
    """Whether an error is about the hint of a language: by the parameter that it names, or by its words."""
    return re.search(r"\blanguages?\b", param or message) is not None


def session_update(
    settings: RealtimeSettings,
    instructions: str,
    language: str,
    tools: Sequence[ToolDeclaration],
    hint: LanguageHint | None = None,
) -> Message:
    """The session's settings, all of them; `language` (BCP 47) is the agent's. `hint` None: as the model's name has
    it."""
    audio_format = _FORMATS[settings.audio]
    session: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": instructions,
        "max_output_tokens": settings.max_output_tokens or "inf",
        "tools": [_tool(tool) for tool in tools],
        "tool_choice": "auto",
        "audio": {
            "input": {
                "format": audio_format,
                "noise_reduction": _noise_reduction(settings),
                "transcription": _transcription(settings, language, hint),
                "turn_detection": _turn_detection(settings),
            },
            "output": {"format": audio_format, "voice": settings.voice, "speed": settings.speed},
        },
    }
    if settings.reasoning is not Reasoning.DEFAULT:
        session["reasoning"] = {"effort": settings.reasoning.value}
    return {"type": "session.update", "session": session}


def _tool(tool: ToolDeclaration) -> Message:
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _noise_reduction(settings: RealtimeSettings) -> Message | None:
    if settings.noise_reduction is NoiseReduction.OFF:
        return None
    return {"type": settings.noise_reduction.value}


def _transcription(settings: RealtimeSettings, language: str, hint: LanguageHint | None) -> Message | None:
    model = settings.transcription.model
    if not model:
        return None
    spoken = settings.transcription.language or language.split("-")[0].lower()
    match language_hint(model) if hint is None else hint:
        case LanguageHint.LIST:
            return {"model": model, "languages": [spoken]}
        case LanguageHint.ONE:
            return {"model": model, "language": spoken}
        case LanguageHint.NONE:
            return {"model": model}


def _turn_detection(settings: RealtimeSettings) -> Message:
    turn = settings.turn
    who = {"create_response": turn.vendor_answers, "interrupt_response": turn.vendor_answers}
    if turn.detection is Detection.SEMANTIC_VAD:
        return {"type": "semantic_vad", "eagerness": turn.eagerness.value, **who}
    return {
        "type": "server_vad",
        "threshold": turn.threshold,
        "prefix_padding_ms": turn.prefix_padding_ms,
        "silence_duration_ms": turn.silence_ms,
        **who,
    }


def probe() -> Message:
    """A session.update that changes nothing: the server answers it at once."""
    return {"type": "session.update", "session": {"type": "realtime"}}


def audio_append(audio: bytes) -> Message:
    """Caller audio, in the session's format."""
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()}


def caller_item(text: str) -> Message:
    """Something that the caller said, or is taken to have said."""
    return _create({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})


def agent_item(text: str) -> Message:
    """Something that the caller heard the agent say. (Audio of the agent's cannot be given.)"""
    return _create({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})


def call_item(call: str, name: str, arguments: str) -> Message:
    """A tool that the model once asked for."""
    return _create({"type": "function_call", "call_id": call, "name": name, "arguments": arguments})


def result_item(call: str, result: str) -> Message:
    """The result of a call's tool."""
    return _create({"type": "function_call_output", "call_id": call, "output": result})


def _create(item: Message) -> Message:
    return {"type": "conversation.item.create", "item": item}


def history_items(history: History) -> list[Message]:
    """The conversation so far (of a very long one, the end), for a new session. The words that are being heard at the
    moment are not in it."""
    turns = history.turns[-MOST_TURNS:]
    return [message for number, turn in enumerate(turns, 1) for message in _turn_items(number, turn)]


def _turn_items(number: int, turn: Turn) -> list[Message]:
    if turn.tool is not None:
        call = f"call_{number}"
        return [call_item(call, turn.tool.name, turn.tool.arguments), result_item(call, turn.tool.result)]
    if not turn.text:
        return []
    return [caller_item(turn.text) if turn.speaker is Speaker.CALLER else agent_item(turn.text)]


def item_truncate(item: str, audio_end_ms: int) -> Message:
    """Keep the first `audio_end_ms` milliseconds of what the agent said, and no transcript."""
    return {
        "type": "conversation.item.truncate",
        "event_id": TRUNCATE,
        "item_id": item,
        "content_index": 0,
        "audio_end_ms": audio_end_ms,
    }


def item_delete(item: str) -> Message:
    """Take an item out of the conversation."""
    return {"type": "conversation.item.delete", "event_id": DELETE, "item_id": item}


def response_create(tag: str, instructions: str = "") -> Message:
    """Ask for an answer to the conversation as it is; `instructions` stand in place of the session's.

    The response's metadata gives `tag` back, and so does an error about it as its cause.
    """
    response: dict[str, Any] = {"metadata": {PURPOSE: tag}}
    if instructions:
        response["instructions"] = instructions
    return {"type": "response.create", "event_id": tag, "response": response}


def say_create(words: str, tag: str) -> Message:
    """Ask for words to be spoken beside the conversation (`tag` as in response_create).

    The model sees nothing of the conversation then. That it speaks the words as they are is likely, not certain.
    """
    return {
        "type": "response.create",
        "event_id": tag,
        "response": {
            "conversation": "none",
            "input": [],
            "tools": [],
            "tool_choice": "none",
            "output_modalities": ["audio"],
            "instructions": f"Say exactly the following, word for word, and nothing else: {words}",
            "metadata": {PURPOSE: tag},
        },
    }


def response_cancel(response: str) -> Message:
    """Stop a response that is in progress: the one at work, where the server has told no id."""
    message = {"type": "response.cancel", "event_id": CANCEL}
    return {**message, "response_id": response} if response else message
