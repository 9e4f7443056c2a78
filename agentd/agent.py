"""The contract that every agent meets, whoever provides it. Pure: data and protocols only.

A *provider* (a module below `providers/`, or a third-party package) exports an attrs settings class and an
opener. The opener gives an `Agent` for as long as the daemon runs; the agent opens one `AgentSession` a call.

Control and audio travel apart. A session tells what happens through `AgentSession.events`; the agent's
voice goes into the `Playout` that the call hands over, each piece stamped with its utterance and generation.
An interruption moves the generation on, and audio of an older generation is dropped wherever it surfaces.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Protocol

import attrs

from agentd.history import History
from agentd.party import Party
from agentd.session_events import SessionEvent


@attrs.frozen
class CallInfo:
    """The call that an agent serves, as far as the agent may know it: who the caller is now. Where another party takes
    the caller's place (an attended transfer), a session that was opened for the one before is renewed.

    `call_id` is agentd's own name of the call (Asterisk's channel id of the caller). `rate` is that of the
    caller's audio in Hz. Numbers and names come from the caller: bounded, without control characters and what
    structures a prompt (agentd.ari.caller_id), and not to be trusted all the same.
    """

    call_id: str
    caller_number: str = ""
    caller_name: str = ""
    extension: str = ""
    rate: int = 8000

    def with_caller(self, party: Party) -> "CallInfo":
        """The same call, with this party as its caller."""
        return attrs.evolve(self, caller_number=party.number, caller_name=party.name)


@attrs.frozen
class ToolDeclaration:
    """A tool that the model may ask for (`ToolRequested`). `parameters` is the JSON Schema of its arguments object."""

    name: str
    description: str
    parameters: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "object", "properties": {}})


class SayOutcome(StrEnum):
    """How a session dealt with words that it was asked to speak."""

    SPOKEN = "spoken"
    REPLACED = "replaced"
    REFUSED = "refused"


@attrs.frozen
class Capabilities:
    """The abilities of a session: the call asks for these, never for the vendor's name."""

    takes_turns: bool
    """The session itself decides when the caller has finished, and lets its answers be heard without `answer()`
    (true for vendors that hear and answer)."""
    truncates: bool = False
    """`heard()` reaches the model: its own record of the conversation is cut to what the caller heard."""
    speaks_verbatim: bool = False
    """`say()` speaks exactly the words given."""
    takes_text: bool = False
    takes_digits: bool = False
    longest_pause: float = 1.0
    """Seconds of silence after the caller's words for which a session that takes turns may wait without a word."""
    answers_probes: bool = False
    """`probe()` brings `Alive` at once from a provider that is well."""


# --- audio: session -> playout ------------------------------------------------------------------------


@attrs.frozen
class SegmentStart:
    """The audio that follows speaks `text`; a segment is a clause or a sentence, and may be played alone.

    `spoken` tells what the voice says for each word of it, where that is something else ("$5": "five dollars"; nothing
    for a word that is silent): by its length an interruption is put at the right word. Empty: the words as they are.
    """

    generation: int
    utterance: int
    text: str
    spoken: tuple[str, ...] = ()


@attrs.frozen
class SegmentEnd:
    """The segment's audio is complete: it may be played now, before anything else of the utterance has come.

    Optional: a segment also ends with the next one, or with its utterance.
    """

    generation: int
    utterance: int


@attrs.frozen
class Audio:
    """A piece of an utterance: signed 16-bit little-endian mono at `rate` Hz, whole samples."""

    generation: int
    utterance: int
    pcm: bytes = attrs.field(repr=lambda pcm: f"<{len(pcm)} bytes>")
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


@attrs.frozen
class UtteranceEnd:
    """Nothing more of this utterance will come. `cut`: though more of it was to: its last words may have no audio."""

    generation: int
    utterance: int
    cut: bool = False


Chunk = SegmentStart | Audio | SegmentEnd | UtteranceEnd


class Playout(Protocol):
    """Where a session puts its voice: bounded in seconds of audio, emptied by the call's playback."""

    async def put(self, chunk: Chunk) -> None:
        """Append a chunk. Waits while the buffer is full; a chunk of an older generation is dropped."""
        ...

    @property
    def generation(self) -> int:
        """The generation that is being listened to now; an interruption moves it on."""
        ...

    def number(self) -> int:
        """The number of a new utterance: from 1 on, each given once a call, whoever speaks."""
        ...


# --- sessions and agents ---------------------------------------------------------------------------------


class AgentSession(Protocol):
    """One call's conversation with an agent. Leaving the context manager that gave it frees everything."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        """The session's news, in order; bounded. Ends after `Ended`."""
        ...

    def feed(self, pcm: bytes, at: float) -> None:
        """Hand over caller audio (slin at the line's rate) that arrived at monotonic second `at`.

        Never blocks and never raises for a slow engine: what cannot be taken is dropped and counted.
        """
        ...

    def feed_text(self, text: str) -> None:
        """Hand over text as if the caller had said it."""
        ...

    def feed_digits(self, digits: str) -> None:
        """Hand over DTMF digits."""
        ...

    async def say(self, text: str) -> SayOutcome:
        """Ask for words to be spoken next (a greeting, a filler). Returns when they are on their way.

        Raises nothing: words that cannot be spoken are REFUSED.
        """
        ...

    def answer(self) -> None:
        """The caller's turn is over and the agent may speak: what was prepared meanwhile, or comes now, is heard.

        Without it no answer is: a session that takes turns itself (see Capabilities) need not wait.
        """
        ...

    def withhold(self) -> None:
        """Keep an answer back that has not begun to be heard: the caller may be going on. `answer` lets it go."""
        ...

    def interrupt(self) -> None:
        """Stop preparing and speaking: whatever has not been heard will not be."""
        ...

    def started(self, utterance: int) -> None:
        """Tell that the caller begins to hear an utterance: from now on a caller's sound may be an interruption.

        It may be one that somebody else put into the playout (agentd's own words).
        """
        ...

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """Tell how much of an utterance reached the caller, who hears nothing of it any more."""
        ...

    def resume(self) -> None:
        """Answer now what `history` leaves open: another session did not answer it, or broke off in its answer.

        Asked once, right after a session was opened in place of one that failed. `answer` need not follow.
        """
        ...

    def probe(self) -> None:
        """Ask the provider for a sign of life, which comes as `Alive`. Only where the capabilities have it."""
        ...

    def tool_result(self, call: str, result: str) -> None:
        """Hand over what the tool of `ToolRequested(call=...)` gave (or why it could not): the model goes on with it.

        A result that comes after an interruption is kept for the model, which is not asked to speak because of it.
        """
        ...


@attrs.frozen
class Readiness:
    """Whether an agent can take a call now, and if not, why (no caller data in it)."""

    ready: bool
    detail: str = ""


class Agent(Protocol):
    """One configured agent, for as long as the daemon runs."""

    @property
    def readiness(self) -> Readiness: ...

    @property
    def rates(self) -> Sequence[int]:
        """The rates in Hz that caller audio may come at, the agent's own choice first. 8000 is always among them."""
        ...

    def open(
        self, call: CallInfo, history: History, playout: Playout, tools: Sequence[ToolDeclaration] = ()
    ) -> AbstractAsyncContextManager[AgentSession]:
        """Open a session that goes on where `history` stopped; its model may ask for `tools`.

        Raises:
            ProviderUnavailable: the provider did not become ready within its deadline.
            ProviderRejected: it refused our configuration.

        Cancelling frees whatever was opened so far.
        """
        ...

    async def synthesise(self, text: str) -> Sequence[Audio]:
        """Speak words that must be exact (an announcement) without a call.

        Raises ProviderRejected where the agent has no voice of its own.
        """
        ...
