"""The contract that every agent meets, whoever provides it. Pure: data and protocols only.

A *provider* (a module below `providers/`, or a third-party package) exports an attrs settings class and an
opener. The opener gives an `Agent` for as long as the daemon runs; the agent opens one `AgentSession` a call.

Control and audio travel apart. What a session has to tell goes through `AgentSession.events`; the agent's
voice goes into the `Playout` that the call hands over, each piece stamped with its utterance and generation.
An interruption moves the generation on, and audio of an older generation is dropped wherever it surfaces.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol

import attrs


@attrs.frozen
class CallInfo:
    """What an agent may know about the call it serves.

    `call_id` is agentd's own name of the call (Asterisk's channel id of the caller). `rate` is that of the
    caller's audio in Hz. Numbers and names come from the caller and are not to be trusted.
    """

    call_id: str
    caller_number: str = ""
    caller_name: str = ""
    extension: str = ""
    rate: int = 8000


class Speaker(StrEnum):
    """Who said a turn of the conversation."""

    CALLER = "caller"
    AGENT = "agent"


@attrs.define
class Turn:
    """One turn as it went over the line: what the caller said, or what the caller heard.

    An agent's turn that is being heard has no text yet. `generated` keeps the agent's whole text, of which the
    caller may have heard only a part.
    """

    speaker: Speaker
    text: str
    generated: str = ""
    utterance: int = 0
    """Utterances are numbered from 1 within a call; 0 in the caller's turns."""


@attrs.define
class History:
    """The canonical history of one call: agentd's own, whatever a vendor keeps.

    Consecutive turns of the caller are one turn: a caller who pauses and goes on has said one thing.
    """

    turns: list[Turn] = attrs.field(factory=list)

    def caller_said(self, text: str) -> None:
        """Record what the caller said."""
        if self.turns and self.turns[-1].speaker is Speaker.CALLER:
            self.turns[-1].text += " " + text
        else:
            self.turns.append(Turn(Speaker.CALLER, text))

    def agent_speaks(self, utterance: int) -> None:
        """Record that the caller begins to hear an utterance."""
        self.turns.append(Turn(Speaker.AGENT, "", "", utterance))

    def agent_heard(self, utterance: int, text: str, generated: str) -> None:
        """Record what the caller heard of an utterance; one of which nothing was heard leaves no trace."""
        turn = next((turn for turn in reversed(self.turns) if turn.utterance == utterance), None)
        if turn is None and text:
            self.turns.append(Turn(Speaker.AGENT, text, generated, utterance))
        elif turn is not None and text:
            turn.text, turn.generated = text, generated
        elif turn is not None:
            self._forget(turn)

    def _forget(self, turn: Turn) -> None:
        """Take a turn out; the caller's turns on either side of it become one."""
        at = next(index for index, known in enumerate(self.turns) if known is turn)
        del self.turns[at]
        around = self.turns[max(at - 1, 0) : at + 1]
        if [neighbour.speaker for neighbour in around] == [Speaker.CALLER, Speaker.CALLER]:
            around[0].text += " " + around[1].text
            del self.turns[at]


class SayOutcome(StrEnum):
    """What a session did with words it was asked to speak."""

    SPOKEN = "spoken"
    REPLACED = "replaced"
    REFUSED = "refused"


@attrs.frozen
class Capabilities:
    """What a session can do; the call asks these, never the vendor's name."""

    takes_turns: bool
    """The session itself decides when the caller has finished (true for vendors that hear and answer)."""
    truncates: bool = False
    """`heard()` reaches the model: its own record of the conversation is cut to what the caller heard."""
    speaks_verbatim: bool = False
    """`say()` speaks exactly the words given."""
    takes_text: bool = False
    takes_digits: bool = False


# --- events: session -> call -------------------------------------------------------------------------


@attrs.frozen
class CallerSpeechStarted:
    """The caller made a sound that may be speech (`at`: seconds of the daemon's monotonic clock)."""

    at: float


@attrs.frozen
class CallerSpeechConfirmed:
    """The sound goes on for longer than a click or a knock does."""

    at: float


@attrs.frozen
class CallerTakesTurn:
    """It is clear that the caller speaks to be heard: an agent that speaks has to stop."""

    at: float


@attrs.frozen
class CallerSpeechDismissed:
    """The sound was nothing to act on: noise, a cough, a "mhm" while the agent speaks. Nothing was said."""

    reason: str


@attrs.frozen
class CallerPaused:
    """The caller fell silent; whether the turn is over or this is a hesitation is not known yet."""

    at: float


@attrs.frozen
class CallerSpeechResumed:
    """The caller goes on after a pause: it was a hesitation."""

    at: float


@attrs.frozen
class CallerSpeechEnded:
    """The caller's turn is over.

    `at` is when this was decided, `last_speech_at` when the caller was last heard speaking.
    """

    at: float
    last_speech_at: float


@attrs.frozen
class CallerText:
    """What the caller says, as heard so far (`final` false) or for good."""

    text: str
    final: bool = True


@attrs.frozen
class UtteranceStarted:
    """The agent begins an utterance; its audio follows in the playout.

    An `aside` is no answer to the caller: a greeting, a filler, whatever `say` asked for.
    """

    utterance: int
    aside: bool = False


@attrs.frozen
class AgentText:
    """Words of an utterance, in order."""

    utterance: int
    text: str


@attrs.frozen
class UtteranceEnded:
    """All of an utterance's audio is in the playout."""

    utterance: int


@attrs.frozen
class NothingToSay:
    """The caller's turn needs no answer (nothing intelligible was said, or the model gave no words)."""

    reason: str


@attrs.frozen
class ToolRequested:
    """The model asks for a tool; `arguments` is its JSON text, not to be trusted."""

    name: str
    arguments: str
    call: str


@attrs.frozen
class StageTiming:
    """How long one stage of the answer that is about to be heard took, in seconds.

    Stages that follow one another: "pause" (from the caller's last speech until the silence was noticed),
    "transcript", "first_token", "first_audio", "held" (ready, but the turn not yet over). Beside them "endpoint",
    from the last speech to the decision that the turn is over. A vendor tells what it knows.
    """

    stage: str
    seconds: float


@attrs.frozen
class Degraded:
    """The session goes on, but worse than it should; `reason` is for the log."""

    reason: str


@attrs.frozen
class Ended:
    """The session is over. `failure` says why where it ended on an error; empty: the agent hung up."""

    failure: str = ""


SessionEvent = (
    CallerSpeechStarted
    | CallerSpeechConfirmed
    | CallerTakesTurn
    | CallerSpeechDismissed
    | CallerPaused
    | CallerSpeechResumed
    | CallerSpeechEnded
    | CallerText
    | UtteranceStarted
    | AgentText
    | UtteranceEnded
    | NothingToSay
    | ToolRequested
    | StageTiming
    | Degraded
    | Ended
)


# --- audio: session -> playout ------------------------------------------------------------------------


@attrs.frozen
class SegmentStart:
    """The audio that follows speaks `text`; a segment is a clause or a sentence, and may be played alone."""

    generation: int
    utterance: int
    text: str


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
    """Nothing more of this utterance will come."""

    generation: int
    utterance: int


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


# --- sessions and agents ---------------------------------------------------------------------------------


class AgentSession(Protocol):
    """One call's conversation with an agent. Leaving the context manager that gave it frees everything."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def events(self) -> AsyncIterator[SessionEvent]:
        """What the session has to tell, in order; bounded. Ends after `Ended`."""
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
        """Ask for words to be spoken next (a greeting, a filler). Returns when they are on their way."""
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
        """Tell that the caller begins to hear an utterance: from now on a caller's sound may be an interruption."""
        ...

    def heard(self, utterance: int, milliseconds: int, completed: bool) -> None:
        """Tell how much of an utterance reached the caller, who hears nothing of it any more."""
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

    def open(self, call: CallInfo, history: History, playout: Playout) -> AbstractAsyncContextManager[AgentSession]:
        """Open a session that goes on where `history` stopped.

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
