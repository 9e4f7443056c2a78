"""The stages that a pipeline is made of. Implement these to bring one of them. Pure: data and protocols only.

Each stage comes twice: an engine for as long as its agent is open (SpeechToText, LanguageModel, TextToSpeech), and what
one call has of it (Transcriber, Responder, Voice), from the engine's `open`.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

import attrs

from agentd.agent import CallInfo, Readiness, ToolDeclaration
from agentd.history import Sealed
from agentd.session_events import Cut
from agentd_providers.text_normalisation.normaliser import TextNormaliser
from agentd_providers.turns.first_sound import Kinds
from agentd_providers.turns.settings import SentenceCue
from agentd_providers.turns.taker import TurnTaking


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@attrs.frozen
class ToolCall:
    """The model asks for a tool. `call` names the request, `arguments` is JSON text as the model wrote it. `sealed` is
    what its Responder wants back with it, also out of the history, and in another session."""

    call: str
    name: str
    arguments: str
    sealed: Sealed | None = None


@attrs.frozen
class Withdrawal:
    """What the model has written so far was no reply, but thoughts that were taken for one: what of it was not heard is
    not to be."""


@attrs.frozen
class CutShort:
    """The reply ends here, though the model had not come to its end; `reason` is for people. It is empty where an error
    follows, which says why there is no answer."""

    reason: str
    cause: Cut = Cut.BROKEN


Piece = str | ToolCall | Withdrawal | CutShort


@attrs.frozen
class Message:
    """One message of the prompt. The assistant's may ask for tools (`calls`); a tool's answers the request `call`."""

    role: Role
    text: str
    calls: tuple[ToolCall, ...] = ()
    call: str = ""


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

    async def words(self) -> str:
        """The words of what was fed so far. Asked at every pause; more may be fed while it runs, and afterwards.

        Raises ProviderError. Cancelling gives them up.
        """
        ...

    def close(self) -> None:
        """The turn is over, or was none: free what the engine keeps of it. Never blocks."""
        ...


class Transcriber(Protocol):
    """Speech to text."""

    def begin(self) -> Transcript:
        """A turn of the caller begins."""
        ...


class TurnJudge(Protocol):
    """Tells by its sound whether a turn of the caller is complete."""

    async def judge(self, pcm: bytes, rate: int, look: int) -> float:
        """Probability, 0 to 1, that who has spoken `pcm` (slin at `rate` Hz, the end of a turn with the silence
        after it) has finished. `look` counts how often it was asked in this pause, from 0: the silence is longer each
        time (agentd_providers.turns.settings.LOOKS_MS). Raises ProviderError."""
        ...


class SoundJudge(Protocol):
    """Tells of the beginning of a caller's sound what it is, before there are words."""

    def kinds(self, pcm: bytes, rate: int, begun: int) -> Kinds:
        """What the sound in `pcm` (slin at `rate` Hz, up to now) is, which was heard to begin `begun` bytes into it,
        after 64 ms of speech. Asked on the line's own loop: takes 2 ms at most, never blocks, raises nothing."""
        ...


class SentenceJudge(Protocol):
    """A language model that is asked whether a sentence ends, beside the one that writes the replies, or beside its
    replies."""

    @property
    def tells_sentence_ends(self) -> bool:
        """Whether it can be asked now."""
        ...

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """See Responder.sentence_end; it may be asked at any time."""
        ...


class TurnCues(Protocol):
    """The cues by which turns are taken, whoever listens."""

    @property
    def window_ms(self) -> float:
        """Length of the windows that a detector judges."""
        ...

    def detector(self, rate: int) -> VoiceDetector:
        """One call's, for caller audio at `rate` Hz. Raises ProviderError for a rate that cannot be judged."""
        ...

    @property
    def judge(self) -> TurnJudge | None:
        """None: turns are not judged by their sound."""
        ...

    @property
    def sounds(self) -> SoundJudge | None:
        """None: what a sound over the agent is, its words have to tell."""
        ...

    @property
    def sentences(self) -> SentenceJudge | None:
        """Who is asked whether a sentence ends where the agent's own model does not tell; None: nobody."""
        ...

    async def load(self) -> None:
        """Load what is to be loaded, so that the first caller does not wait for it. Raises ProviderError."""
        ...


class Responder(Protocol):
    """The language model."""

    def respond(
        self, messages: Sequence[Message], tools: Sequence[ToolDeclaration] = ()
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece]]:
        """Stream a reply, piece by piece: its words, then the tools it asks for, each whole, or that it was cut short.

        Raises ProviderError, also where the reply's end does not come, or it ends without words for another reason than
        that the model has none. Leaving the block stops the model."""
        ...

    @property
    def tells_sentence_ends(self) -> bool:
        """Whether `sentence_end` can be asked."""
        ...

    async def sentence_end(self, messages: Sequence[Message]) -> float:
        """Probability, 0 to 1, that a sentence ends where the last message does, whatever punctuation it has.

        Asked before the reply to the same messages, never beside it. Raises ProviderError.
        """
        ...


class Voice(Protocol):
    """Text to speech."""

    def speak(self, text: str, rate: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Speak a clause: slin at `rate` Hz in pieces of whole samples, as soon as they are there.

        Raises ProviderError, in the iteration too. Leaving the block stops the engine.
        """
        ...


class SpeechToText(Protocol):
    """An engine of speech to text."""

    @property
    def readiness(self) -> Readiness: ...

    def open(self, rate: int) -> AbstractAsyncContextManager[Transcriber]:
        """One call's, for caller audio at `rate` Hz. Raises ProviderError; leaving the block frees everything."""
        ...


class LanguageModel(Protocol):
    """An engine that writes the answers."""

    @property
    def readiness(self) -> Readiness: ...

    def open(self) -> AbstractAsyncContextManager[Responder]:
        """One call's. Raises ProviderError; leaving the block frees everything."""
        ...


class TextToSpeech(Protocol):
    """An engine of text to speech."""

    @property
    def readiness(self) -> Readiness: ...

    def open(self) -> AbstractAsyncContextManager[Voice]:
        """One call's. Raises ProviderError; leaving the block frees everything."""
        ...


async def speak_whole(voice: Voice, text: str, rate: int) -> bytes:
    """All of a clause's sound: slin at `rate` Hz. Raises ProviderError."""
    async with voice.speak(text, rate) as pieces:
        return b"".join([piece async for piece in pieces])


@attrs.frozen
class PipelineSettings:
    """How a pipeline takes turns, what it begins and ends with, and how texts are spoken (`text`).

    `window_ms` is the length of the windows that its VoiceDetector judges, `pre_roll_ms` what is kept from before an
    onset. `sentence_cue` tells who is asked for sentence ends. `fillers` are words that only shorten the wait for an
    answer: once it is there they are not said any more.
    """

    prompt: str
    turns: TurnTaking
    window_ms: float
    pre_roll_ms: float
    end_phrases: tuple[str, ...] = ()
    farewell: str = ""
    fillers: frozenset[str] = frozenset()
    sentence_cue: SentenceCue = SentenceCue.OWN
    text: TextNormaliser = attrs.field(factory=TextNormaliser)


_OF_THE_CALL = re.compile(r"\{(caller_number|caller_name|extension)\}")


def fill_in(prompt: str, call: CallInfo) -> str:
    """Put the call's own values into a system prompt. Unknown braces stay as they are: prompts hold JSON too."""
    return _OF_THE_CALL.sub(lambda found: getattr(call, found[1]) or "unknown", prompt)
