"""The stages that a pipeline is made of: transcriber, responder, voice. Implement these to bring one of them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

import attrs

from agentd.agent import CallInfo


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@attrs.frozen
class Message:
    """One message of the prompt."""

    role: Role
    text: str


class VoiceDetector(Protocol):
    """Speech probabilities of one caller's audio."""

    def feed(self, pcm: bytes, *, keep_open: bool) -> list[float]:
        """Take slin audio; gives one probability for each window that is complete now."""
        ...


class Transcript(Protocol):
    """One turn of the caller on its way to words."""

    def feed(self, pcm: bytes) -> None:
        """Take more of the turn's audio; never blocks."""
        ...

    async def finish(self) -> str:
        """The words. Raises ProviderError. Cancelling gives them up."""
        ...


class Transcriber(Protocol):
    """Speech to text."""

    def begin(self) -> Transcript:
        """A turn of the caller begins."""
        ...


class Responder(Protocol):
    """The language model."""

    def respond(self, messages: Sequence[Message]) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Stream a reply, piece by piece. Raises ProviderError; leaving the block stops the model."""
        ...


class Voice(Protocol):
    """Text to speech."""

    async def synthesise(self, text: str, rate: int) -> bytes:
        """Speak a clause: slin at `rate` Hz. Raises ProviderError."""
        ...


@attrs.frozen
class PipelineSettings:
    """How a pipeline takes turns and what it begins and ends with. Times in ms unless the name says otherwise."""

    prompt: str
    start_ms: float
    stop_ms: float
    max_seconds: float
    pre_roll_ms: float
    threshold: float
    window_ms: float
    end_phrases: tuple[str, ...] = ()
    farewell: str = ""


def fill_in(prompt: str, call: CallInfo) -> str:
    """Put the call's own values into a system prompt. Unknown braces stay as they are: prompts hold JSON too."""
    for name in ("caller_number", "caller_name", "extension"):
        prompt = prompt.replace(f"{{{name}}}", getattr(call, name) or "unknown")
    return prompt
