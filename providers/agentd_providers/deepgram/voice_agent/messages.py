"""Our messages to Deepgram's Voice Agent. Pure; what it tells us is in events.

Sources, read in 2026: the specification (AgentV1 in https://github.com/deepgram/deepgram-api-specs, asyncapi.yml) and

* https://developers.deepgram.com/docs/configure-voice-agent (Settings), /docs/voice-agent-history,
* /docs/voice-agent-function-call-request, /docs/voice-agent-inject-agent-message.

Deepgram ends a session over a field that it does not know, and over a 16000.0 where it wants 16000.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from agentd.agent import ToolDeclaration
from agentd.history import History, Sealed, Speaker, ToolUse, Turn
from agentd_providers.deepgram.listen_messages import language_code
from agentd_providers.deepgram.voice_agent.events import MOST_TEXT, VENDOR
from agentd_providers.deepgram.voice_agent.settings import (
    AgentSpeakSettings,
    AgentThinkSettings,
    DeepgramAgentSettings,
    SpeakProvider,
)

MOST_HISTORY = 200
"""Turns that a session is handed over; the oldest go."""
GO_ON = "(The line was interrupted for a moment. Please go on where you stopped.)"
KEEP_ALIVE: Mapping[str, Any] = {"type": "KeepAlive"}


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
    messages: list[dict[str, Any]] = []
    request = ""
    for number, turn in enumerate(turns):
        if (use := turn.tool) is not None:
            sealed = use.sealed if use.sealed is not None and use.sealed.server == VENDOR else None
            together = sealed is not None and sealed.reply == request
            request = "" if sealed is None else sealed.reply
            if together:
                messages[-1]["function_calls"].append(_function_call(number, use, sealed))
            else:
                messages.append({"type": "History", "function_calls": [_function_call(number, use, sealed)]})
        elif turn.text:
            request = ""
            role = "user" if turn.speaker is Speaker.CALLER else "assistant"
            messages.append({"type": "History", "role": role, "content": turn.text[:MOST_TEXT]})
    return messages[-MOST_HISTORY:]


def _function_call(number: int, use: ToolUse, sealed: Sealed | None) -> dict[str, Any]:
    """A function that was called. Those of one request stay together: the first of them may be signed for all."""
    written = {
        "id": f"history-{number}",
        "name": use.name,
        "client_side": True,
        "arguments": use.arguments,
        "response": use.result[:MOST_TEXT],
    }
    if sealed is not None and sealed.call:
        written["thought_signature"] = sealed.call
    return written


def _open_turn(history: History) -> Turn | None:
    """The caller's turn that nothing has followed: not even a tool, which must not be used twice for it."""
    last = history.turns[-1] if history.turns else None
    return last if last is not None and last.speaker is Speaker.CALLER else None


def resumption(history: History) -> str:
    """The caller's words, as a session is told them that takes another's place; empty: it waits for the caller."""
    if turn := _open_turn(history):
        return turn.text
    return GO_ON if history.owed or history.agent_spoke_last else ""


def inject_user_message(text: str) -> dict[str, Any]:
    """Text as if the caller had said it."""
    return {"type": "InjectUserMessage", "content": text[:MOST_TEXT]}


def inject_agent_message(text: str) -> dict[str, Any]:
    """Words for the agent to speak now; it refuses while the caller or the agent is in the middle of a turn."""
    return {"type": "InjectAgentMessage", "message": text[:MOST_TEXT]}


def function_call_response(call: str, name: str, content: str) -> dict[str, Any]:
    """The result of a function; one message for each."""
    return {"type": "FunctionCallResponse", "id": call, "name": name, "content": content[:MOST_TEXT]}
