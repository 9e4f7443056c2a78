"""The conversation of one call as a pure state machine: events in, commands out. No clock, no I/O.

Theory first. A call has three regions, each in one state at a time:

* the *line*: connecting (media leg and agent are coming up), live, lost (the media leg is gone and is being
  replaced), closing (an announcement may be heard, then the channel leaves), ended;
* the *caller*: silent or speaking;
* the *agent*: idle, preparing an answer, speaking, or speaking while it already owes the next answer.

An event is looked up in the table of every region. A region whose table has no row for it stays as it is;
so an event that comes late (a PlaybackFinished after the hang-up) is harmless by construction. Only the line
may end the call: when it leaves `live` or `lost`, the other regions hear nothing more.

The five names that operators see (Connecting, Streaming, Processing, Speaking, Idle) are a projection of the
three regions: `Conversation.state`.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import attrs

from agentd.agent import CallerSpeechEnded, CallerSpeechStarted, NothingToSay
from agentd.agent import Ended as AgentEnded


class Line(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"
    CLOSING = "closing"
    ENDED = "ended"


class Caller(StrEnum):
    SILENT = "silent"
    SPEAKING = "speaking"


class Agent(StrEnum):
    IDLE = "idle"
    PREPARING = "preparing"
    SPEAKING = "speaking"
    SPEAKING_OWING = "speaking, owing an answer"


class State(StrEnum):
    """What an operator reads in logs, health and metrics."""

    CONNECTING = "Connecting"
    STREAMING = "Streaming"
    PROCESSING = "Processing"
    SPEAKING = "Speaking"
    IDLE = "Idle"
    ENDED = "Ended"


class Result(StrEnum):
    """Why a call left agentd: the value of the channel variable AGENTD_RESULT."""

    COMPLETED = "completed"
    CALLER_HUNG_UP = "caller-hung-up"
    FAILED_MEDIA = "failed:media"
    FAILED_AGENT = "failed:agent"
    FAILED_INTERNAL = "failed:internal"
    SHUTDOWN = "shutdown"
    REFUSED_BUSY = "refused:busy"
    REFUSED_DRAINING = "refused:draining"
    REFUSED_AGENT = "refused:agent"
    REFUSED_ARGUMENTS = "refused:arguments"


# --- events of the call itself (those of the session are in agentd.agent) --------------------------------


@attrs.frozen
class Connected:
    """The media leg carries audio and the agent's session is open."""


@attrs.frozen
class MediaLost:
    """The AudioSocket connection ended while the caller's channel lives."""

    reason: str


@attrs.frozen
class MediaRestored:
    """A fresh media leg carries audio."""


@attrs.frozen
class MediaFailed:
    """No media leg could be brought up or brought back, or nothing can be played to the caller."""

    reason: str


@attrs.frozen
class AgentFailed:
    """No session with the agent could be opened."""

    reason: str


@attrs.frozen
class PlaybackStarted:
    """The caller begins to hear an utterance."""

    utterance: int


@attrs.frozen
class PlaybackFinished:
    """The caller hears nothing more of an utterance; `idle`: nothing else waits to be played."""

    utterance: int
    idle: bool


@attrs.frozen
class DigitPressed:
    """A DTMF digit of the caller, counted once however often it arrived."""

    digit: str


@attrs.frozen
class CallerHungUp:
    """The caller's channel left the application: hang-up, or somebody took it away."""


@attrs.frozen
class ShutdownDue:
    """The daemon ends and its patience with running calls is over."""


@attrs.frozen
class Left:
    """The channel was handed back to the dialplan (or hung up)."""


# --- commands ----------------------------------------------------------------------------------------------


@attrs.frozen
class Greet:
    """Say the agent's greeting."""


@attrs.frozen
class FeedDigit:
    """Hand a digit to the session."""

    digit: str


@attrs.frozen
class DiscardAnswer:
    """Throw away the answer in preparation: nothing of it was heard, nothing of it happened."""


@attrs.frozen
class Leave:
    """End the call: play the announcement (if any), then hand the channel back with the result.

    `finish` lets an utterance that is being played come to its end first; else it is stopped at once.
    """

    result: Result
    detail: str = ""
    announce: bool = False
    finish: bool = False


@attrs.frozen
class End:
    """The caller is gone: free everything."""

    result: Result


Command = Greet | FeedDigit | DiscardAnswer | Leave | End
Row = tuple[StrEnum, Callable[[Any], tuple[Command, ...]]]


def _nothing(_event: object) -> tuple[Command, ...]:
    return ()


def _does(*commands: Command) -> Callable[[Any], tuple[Command, ...]]:
    return lambda _event: commands


def _fails(result: Result) -> Callable[[Any], tuple[Command, ...]]:
    return lambda event: (Leave(result, event.reason, announce=True),)


def _agent_ended(event: AgentEnded) -> tuple[Command, ...]:
    if event.failure:
        return (Leave(Result.FAILED_AGENT, event.failure, announce=True),)
    return (Leave(Result.COMPLETED, finish=True),)


_gone = (Line.ENDED, _does(End(Result.CALLER_HUNG_UP)))
_shutdown = (Line.CLOSING, _does(Leave(Result.SHUTDOWN, announce=True)))
_ended_by_agent = (Line.CLOSING, _agent_ended)
_no_media = (Line.CLOSING, _fails(Result.FAILED_MEDIA))
_no_agent = (Line.CLOSING, _fails(Result.FAILED_AGENT))

LINE: Mapping[tuple[Line, type], Row] = {
    (Line.CONNECTING, Connected): (Line.LIVE, _does(Greet())),
    (Line.CONNECTING, MediaFailed): _no_media,
    (Line.CONNECTING, AgentFailed): _no_agent,
    (Line.CONNECTING, AgentEnded): _ended_by_agent,
    (Line.CONNECTING, CallerHungUp): _gone,
    (Line.CONNECTING, ShutdownDue): _shutdown,
    (Line.LIVE, MediaLost): (Line.LOST, _nothing),
    (Line.LIVE, MediaFailed): _no_media,
    (Line.LIVE, AgentEnded): _ended_by_agent,
    (Line.LIVE, CallerHungUp): _gone,
    (Line.LIVE, ShutdownDue): _shutdown,
    (Line.LOST, MediaRestored): (Line.LIVE, _nothing),
    (Line.LOST, MediaFailed): _no_media,
    (Line.LOST, AgentEnded): _ended_by_agent,
    (Line.LOST, CallerHungUp): _gone,
    (Line.LOST, ShutdownDue): _shutdown,
    (Line.CLOSING, CallerHungUp): _gone,
    (Line.CLOSING, Left): (Line.ENDED, _nothing),
}

CALLER: Mapping[tuple[Caller, type], Row] = {
    (Caller.SILENT, CallerSpeechStarted): (Caller.SPEAKING, _nothing),
    (Caller.SPEAKING, CallerSpeechEnded): (Caller.SILENT, _nothing),
    (Caller.SPEAKING, MediaLost): (Caller.SILENT, _nothing),
}

_digit = lambda event: (FeedDigit(event.digit),)  # noqa: E731 - a row of the table, not a function of its own

AGENT: Mapping[tuple[Agent, type], Row] = {
    (Agent.IDLE, CallerSpeechEnded): (Agent.PREPARING, _nothing),
    (Agent.IDLE, PlaybackStarted): (Agent.SPEAKING, _nothing),
    (Agent.IDLE, DigitPressed): (Agent.IDLE, _digit),
    # The caller goes on before anything was heard: that answer was to half a question.
    (Agent.PREPARING, CallerSpeechStarted): (Agent.IDLE, _does(DiscardAnswer())),
    (Agent.PREPARING, PlaybackStarted): (Agent.SPEAKING, _nothing),
    (Agent.PREPARING, NothingToSay): (Agent.IDLE, _nothing),
    (Agent.PREPARING, DigitPressed): (Agent.PREPARING, _digit),
    (Agent.SPEAKING, CallerSpeechEnded): (Agent.SPEAKING_OWING, _nothing),
    (Agent.SPEAKING, DigitPressed): (Agent.SPEAKING, _digit),
    (Agent.SPEAKING_OWING, NothingToSay): (Agent.SPEAKING, _nothing),
    (Agent.SPEAKING_OWING, DigitPressed): (Agent.SPEAKING_OWING, _digit),
}

# What follows the end of an utterance depends on whether another one waits: the only row with two outcomes.
AFTER_PLAYBACK: Mapping[tuple[Agent, bool], Agent] = {
    (Agent.SPEAKING, True): Agent.IDLE,
    (Agent.SPEAKING, False): Agent.PREPARING,
    (Agent.SPEAKING_OWING, True): Agent.PREPARING,
    (Agent.SPEAKING_OWING, False): Agent.PREPARING,
}


@attrs.frozen
class Transition:
    """One region's step, for the log: `region` from `before` to `after` because of `event`."""

    region: str
    before: str
    after: str
    event: str


@attrs.frozen
class Step:
    """What one event brought about."""

    commands: tuple[Command, ...]
    transitions: tuple[Transition, ...]


@attrs.define
class Conversation:
    """The state of one call's conversation; `step` is its only way to change."""

    line: Line = Line.CONNECTING
    caller: Caller = Caller.SILENT
    agent: Agent = Agent.IDLE

    @property
    def state(self) -> State:
        """The seed's five names as a projection of the regions (plus Ended)."""
        if self.line in (Line.CLOSING, Line.ENDED):
            return State.ENDED
        if self.line is not Line.LIVE:
            return State.CONNECTING
        if self.agent in (Agent.SPEAKING, Agent.SPEAKING_OWING):
            return State.SPEAKING
        if self.caller is Caller.SPEAKING:
            return State.STREAMING
        return State.PROCESSING if self.agent is Agent.PREPARING else State.IDLE

    def step(self, event: object) -> Step:
        """Take one event; gives the commands to carry out, in order, and what changed."""
        kind = type(event)
        commands: list[Command] = []
        transitions: list[Transition] = []
        talking = self.line in (Line.LIVE, Line.LOST)
        if row := LINE.get((self.line, kind)):
            self.line = self._move("line", self.line, row, event, commands, transitions)
        if not talking:
            return Step(tuple(commands), tuple(transitions))
        if row := CALLER.get((self.caller, kind)):
            self.caller = self._move("caller", self.caller, row, event, commands, transitions)
        if isinstance(event, PlaybackFinished):
            if after := AFTER_PLAYBACK.get((self.agent, event.idle)):
                row = (after, _nothing)
                self.agent = self._move("agent", self.agent, row, event, commands, transitions)
        elif row := AGENT.get((self.agent, kind)):
            self.agent = self._move("agent", self.agent, row, event, commands, transitions)
        return Step(tuple(commands), tuple(transitions))

    def _move(
        self,
        region: str,
        before: StrEnum,
        row: Row,
        event: object,
        commands: list[Command],
        transitions: list[Transition],
    ) -> Any:
        after, act = row
        commands.extend(act(event))
        if after is not before:
            transitions.append(Transition(region, before, after, type(event).__name__))
        return after
