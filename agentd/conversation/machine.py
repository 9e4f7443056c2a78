"""The conversation of one call as a pure state machine: events in, commands out. No clock, no I/O.

Theory first. A call has four regions, each in one state at a time:

* the *line*: connecting (media leg and agent are coming up), live, lost (the media leg is gone and is being
  replaced), closing (an announcement may be heard, then the channel leaves), ended;
* the *caller*: silent, speaking, or hesitating (silent, but the turn may go on);
* the *agent*: idle; preparing an answer; withholding it (the caller may be going on); speaking; speaking attenuated
  (the caller has made a sound); paused (the caller may be taking the turn); speaking words that are no answer, with the
  answer to follow (a filler); or speaking while it already owes the next answer (the caller's turn was over before what
  is protected);
* *protection*: whether what is being heard may be interrupted.

An event is looked up in the table of every region. A region whose table has no row for it stays as it is;
so an event that comes late (a PlaybackFinished after the hang-up) is harmless by construction. Only the line
may end the call: when it leaves `live` or `lost`, the other regions hear nothing more. So no sound of the caller's
interrupts the words with which the agent ends the call, or transfers it.

An interruption goes by degrees, since words come later than sounds: at the onset the agent is attenuated, when the
sound goes on it pauses, and only when the caller takes the turn what it says is thrown away; a cough or a "mhm"
brings it back where it stopped. While protected, the agent is deaf to all of this, and owes an answer afterwards;
what was attenuated or paused is itself again when protection begins.

The five names that operators see (Connecting, Streaming, Processing, Speaking, Idle) are a projection of the
regions: `Conversation.state`.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import attrs

from agentd.conversation.commands import (
    Answer,
    Attenuate,
    Command,
    End,
    FeedDigit,
    Interrupt,
    Leave,
    Pause,
    Phrase,
    Restore,
    Result,
    Say,
    Withhold,
)
from agentd.conversation.events import (
    AgentFailed,
    AgentReplaced,
    AnswerSlow,
    AsideStarted,
    CallerHungUp,
    CheckInDue,
    Connected,
    DepartureRequested,
    DigitPressed,
    DurationOver,
    DurationWarningDue,
    Left,
    MediaFailed,
    MediaLost,
    MediaRestored,
    PlaybackFinished,
    PlaybackStarted,
    ProtectionBegan,
    ProtectionEnded,
    ShutdownDue,
    SilenceOver,
)
from agentd.session_events import (
    CallerPaused,
    CallerSpeechConfirmed,
    CallerSpeechDismissed,
    CallerSpeechEnded,
    CallerSpeechResumed,
    CallerSpeechStarted,
    CallerTakesTurn,
    NothingToSay,
)
from agentd.session_events import Ended as AgentEnded


class Line(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"
    CLOSING = "closing"
    ENDED = "ended"


class Caller(StrEnum):
    SILENT = "silent"
    SPEAKING = "speaking"
    HESITATING = "hesitating"


class Agent(StrEnum):
    IDLE = "idle"
    PREPARING = "preparing"
    WITHHOLDING = "withholding"
    SPEAKING = "speaking"
    ATTENUATED = "attenuated"
    PAUSED = "paused"
    SPEAKING_ASIDE = "speaking, answer to follow"
    SPEAKING_OWING = "speaking, owing an answer"


AUDIBLE = frozenset({Agent.SPEAKING, Agent.ATTENUATED, Agent.PAUSED, Agent.SPEAKING_ASIDE, Agent.SPEAKING_OWING})
"""The states in which an utterance is on its way to the caller's ear."""


class Protection(StrEnum):
    OPEN = "open"
    PROTECTED = "protected"


class State(StrEnum):
    """What an operator reads in logs, health and metrics."""

    CONNECTING = "Connecting"
    STREAMING = "Streaming"
    PROCESSING = "Processing"
    SPEAKING = "Speaking"
    IDLE = "Idle"
    ENDED = "Ended"


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


def _departs(event: DepartureRequested) -> tuple[Command, ...]:
    return (Leave(event.result, finish=True, destination=event.destination),)


_digit = lambda event: (FeedDigit(event.digit),)  # noqa: E731 - a row of the table, not a function of its own
_digit_interrupts = lambda event: (Interrupt(), FeedDigit(event.digit))  # noqa: E731 - the same
_answer = _does(Answer())
_give_way = _does(Interrupt(), Answer())
_attenuated = (Agent.ATTENUATED, _does(Attenuate()))
_restored = (Agent.SPEAKING, _does(Restore()))

_gone = (Line.ENDED, _does(End(Result.CALLER_HUNG_UP)))
_shutdown = (Line.CLOSING, _does(Leave(Result.SHUTDOWN, announce=True)))
_ended_by_agent = (Line.CLOSING, _agent_ended)
_departure = (Line.CLOSING, _departs)
_no_media = (Line.CLOSING, _fails(Result.FAILED_MEDIA))
_no_agent = (Line.CLOSING, _fails(Result.FAILED_AGENT))
_too_long = (Line.CLOSING, _does(Leave(Result.MAX_DURATION, announce=True)))
_nobody_there = (Line.CLOSING, _does(Leave(Result.CALLER_SILENT, announce=True)))

LINE: Mapping[tuple[Line, type], Row] = {
    (Line.CONNECTING, Connected): (Line.LIVE, _does(Say(Phrase.GREETING))),
    (Line.CONNECTING, MediaFailed): _no_media,
    (Line.CONNECTING, AgentFailed): _no_agent,
    (Line.CONNECTING, AgentEnded): _ended_by_agent,
    (Line.CONNECTING, DepartureRequested): _departure,
    (Line.CONNECTING, CallerHungUp): _gone,
    (Line.CONNECTING, ShutdownDue): _shutdown,
    (Line.LIVE, MediaLost): (Line.LOST, _nothing),
    (Line.LIVE, MediaFailed): _no_media,
    (Line.LIVE, AgentEnded): _ended_by_agent,
    (Line.LIVE, DepartureRequested): _departure,
    (Line.LIVE, CallerHungUp): _gone,
    (Line.LIVE, ShutdownDue): _shutdown,
    (Line.LIVE, DurationWarningDue): (Line.LIVE, _does(Say(Phrase.DURATION_WARNING))),
    (Line.LIVE, DurationOver): _too_long,
    (Line.LIVE, SilenceOver): _nobody_there,
    (Line.LOST, MediaRestored): (Line.LIVE, _nothing),
    (Line.LOST, MediaFailed): _no_media,
    (Line.LOST, AgentEnded): _ended_by_agent,
    (Line.LOST, DepartureRequested): _departure,
    (Line.LOST, CallerHungUp): _gone,
    (Line.LOST, ShutdownDue): _shutdown,
    (Line.LOST, DurationOver): _too_long,
    (Line.CLOSING, CallerHungUp): _gone,
    (Line.CLOSING, Left): (Line.ENDED, _nothing),
}

CALLER: Mapping[tuple[Caller, type], Row] = {
    (Caller.SILENT, CallerSpeechStarted): (Caller.SPEAKING, _nothing),
    (Caller.SPEAKING, CallerPaused): (Caller.HESITATING, _nothing),
    (Caller.SPEAKING, CallerSpeechEnded): (Caller.SILENT, _nothing),
    (Caller.SPEAKING, CallerSpeechDismissed): (Caller.SILENT, _nothing),
    (Caller.SPEAKING, MediaLost): (Caller.SILENT, _nothing),
    (Caller.HESITATING, CallerSpeechResumed): (Caller.SPEAKING, _nothing),
    (Caller.HESITATING, CallerSpeechEnded): (Caller.SILENT, _nothing),
    (Caller.HESITATING, CallerSpeechDismissed): (Caller.SILENT, _nothing),
    (Caller.HESITATING, MediaLost): (Caller.SILENT, _nothing),
    # What the caller was doing, the new session will tell: it is given the caller's audio again.
    (Caller.SPEAKING, AgentReplaced): (Caller.SILENT, _nothing),
    (Caller.HESITATING, AgentReplaced): (Caller.SILENT, _nothing),
}

AGENT: Mapping[tuple[Agent, type], Row] = {
    (Agent.IDLE, CallerSpeechEnded): (Agent.PREPARING, _answer),
    (Agent.IDLE, PlaybackStarted): (Agent.SPEAKING, _nothing),
    (Agent.IDLE, AsideStarted): (Agent.SPEAKING, _nothing),
    (Agent.IDLE, DigitPressed): (Agent.IDLE, _digit),
    (Agent.IDLE, CheckInDue): (Agent.IDLE, _does(Say(Phrase.CHECK_IN))),
    (Agent.PREPARING, CallerSpeechStarted): (Agent.WITHHOLDING, _does(Withhold())),
    (Agent.PREPARING, CallerSpeechEnded): (Agent.PREPARING, _answer),
    (Agent.PREPARING, PlaybackStarted): (Agent.SPEAKING, _nothing),
    (Agent.PREPARING, AsideStarted): (Agent.SPEAKING_ASIDE, _nothing),
    (Agent.PREPARING, NothingToSay): (Agent.IDLE, _nothing),
    (Agent.PREPARING, AnswerSlow): (Agent.PREPARING, _does(Say(Phrase.FILLER))),
    (Agent.PREPARING, DigitPressed): (Agent.PREPARING, _digit),
    (Agent.WITHHOLDING, CallerSpeechDismissed): (Agent.PREPARING, _answer),
    # The caller goes on before anything was heard: that answer was to half a question.
    (Agent.WITHHOLDING, CallerTakesTurn): (Agent.IDLE, _does(Interrupt())),
    (Agent.WITHHOLDING, CallerSpeechEnded): (Agent.PREPARING, _give_way),
    # It was on its way already.
    (Agent.WITHHOLDING, PlaybackStarted): _attenuated,
    (Agent.WITHHOLDING, AsideStarted): (Agent.SPEAKING_ASIDE, _nothing),
    (Agent.WITHHOLDING, NothingToSay): (Agent.IDLE, _nothing),
    (Agent.WITHHOLDING, DigitPressed): (Agent.WITHHOLDING, _digit),
    (Agent.SPEAKING, CallerSpeechStarted): _attenuated,
    (Agent.SPEAKING, CallerSpeechConfirmed): (Agent.PAUSED, _does(Pause())),
    (Agent.SPEAKING, CallerTakesTurn): (Agent.IDLE, _does(Interrupt())),
    (Agent.SPEAKING, CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.SPEAKING, DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.ATTENUATED, CallerSpeechConfirmed): (Agent.PAUSED, _does(Pause())),
    (Agent.ATTENUATED, CallerSpeechDismissed): _restored,
    (Agent.ATTENUATED, CallerTakesTurn): (Agent.IDLE, _does(Interrupt())),
    (Agent.ATTENUATED, CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.ATTENUATED, DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.ATTENUATED, ProtectionBegan): _restored,
    (Agent.PAUSED, CallerSpeechDismissed): _restored,
    (Agent.PAUSED, CallerTakesTurn): (Agent.IDLE, _does(Interrupt())),
    (Agent.PAUSED, CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.PAUSED, DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.PAUSED, ProtectionBegan): _restored,
    (Agent.SPEAKING_ASIDE, CallerTakesTurn): (Agent.IDLE, _does(Interrupt())),
    (Agent.SPEAKING_ASIDE, CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.SPEAKING_ASIDE, NothingToSay): (Agent.SPEAKING, _nothing),
    (Agent.SPEAKING_ASIDE, DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.SPEAKING_OWING, ProtectionEnded): (Agent.PREPARING, _give_way),
    # A new session answers what is owed by itself.
    (Agent.WITHHOLDING, AgentReplaced): (Agent.PREPARING, _nothing),
    (Agent.ATTENUATED, AgentReplaced): _restored,
    (Agent.PAUSED, AgentReplaced): _restored,
    (Agent.SPEAKING_OWING, AgentReplaced): (Agent.SPEAKING, _nothing),
}

# While what is heard is protected, these rows stand instead of those above.
PROTECTED_AGENT: Mapping[tuple[Agent, type], Row] = {
    (Agent.SPEAKING, CallerSpeechEnded): (Agent.SPEAKING_OWING, _nothing),
    (Agent.SPEAKING, DigitPressed): (Agent.SPEAKING, _digit),
    (Agent.SPEAKING_ASIDE, CallerSpeechEnded): (Agent.SPEAKING_OWING, _nothing),
    (Agent.SPEAKING_ASIDE, NothingToSay): (Agent.SPEAKING, _nothing),
    (Agent.SPEAKING_ASIDE, DigitPressed): (Agent.SPEAKING_ASIDE, _digit),
    (Agent.SPEAKING_OWING, NothingToSay): (Agent.SPEAKING, _nothing),
    (Agent.SPEAKING_OWING, DigitPressed): (Agent.SPEAKING_OWING, _digit),
    (Agent.SPEAKING_OWING, AgentReplaced): (Agent.SPEAKING, _nothing),
}

# While the caller is not silent, these rows come first: what begins or ends meanwhile is no onset of the caller's.
OVER_CALLER: Mapping[tuple[Agent, type], Row] = {
    (Agent.IDLE, PlaybackStarted): _attenuated,
    (Agent.IDLE, AsideStarted): _attenuated,
    (Agent.SPEAKING, ProtectionEnded): (Agent.PAUSED, _does(Pause())),
    (Agent.SPEAKING_ASIDE, PlaybackFinished): (Agent.WITHHOLDING, _does(Withhold())),
    (Agent.SPEAKING_OWING, PlaybackFinished): (Agent.WITHHOLDING, _nothing),
    (Agent.SPEAKING_OWING, ProtectionEnded): (Agent.WITHHOLDING, _does(Interrupt())),
}

PROTECTION: Mapping[tuple[Protection, type], Row] = {
    (Protection.OPEN, ProtectionBegan): (Protection.PROTECTED, _nothing),
    (Protection.PROTECTED, ProtectionEnded): (Protection.OPEN, _nothing),
}

# What follows the end of an utterance depends on whether another one waits: while one does, the agent is speaking.
AFTER_PLAYBACK: Mapping[tuple[Agent, bool], Row] = {
    (Agent.SPEAKING, True): (Agent.IDLE, _nothing),
    (Agent.ATTENUATED, True): (Agent.IDLE, _does(Restore())),
    (Agent.PAUSED, True): (Agent.IDLE, _does(Restore())),
    (Agent.SPEAKING_ASIDE, True): (Agent.PREPARING, _answer),
    (Agent.SPEAKING_ASIDE, False): (Agent.PREPARING, _answer),
    (Agent.SPEAKING_OWING, True): (Agent.PREPARING, _answer),
    (Agent.SPEAKING_OWING, False): (Agent.PREPARING, _answer),
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
    protection: Protection = Protection.OPEN

    @property
    def state(self) -> State:
        """The seed's five names as a projection of the regions (plus Ended)."""
        if self.line in (Line.CLOSING, Line.ENDED):
            return State.ENDED
        if self.line is not Line.LIVE:
            return State.CONNECTING
        if self.agent in AUDIBLE:
            return State.SPEAKING
        if self.caller is not Caller.SILENT:
            return State.STREAMING
        return State.PROCESSING if self.agent in (Agent.PREPARING, Agent.WITHHOLDING) else State.IDLE

    def step(self, event: object) -> Step:
        """Take one event; gives the commands to carry out, in order, and what changed."""
        kind = type(event)
        commands: list[Command] = []
        transitions: list[Transition] = []
        talking = self.line in (Line.LIVE, Line.LOST)

        def move(region: str, before: Any, row: Row | None) -> Any:
            if row is None:
                return before
            after, act = row
            commands.extend(act(event))
            if after is not before:
                transitions.append(Transition(region, before, after, kind.__name__))
            return after

        self.line = move("line", self.line, LINE.get((self.line, kind)))
        if talking:
            self.caller = move("caller", self.caller, CALLER.get((self.caller, kind)))
            self.agent = move("agent", self.agent, self._agent_row(event))
            self.protection = move("protection", self.protection, PROTECTION.get((self.protection, kind)))
        return Step(tuple(commands), tuple(transitions))

    def _agent_row(self, event: object) -> Row | None:
        at = (self.agent, type(event))
        if self.caller is not Caller.SILENT and at in OVER_CALLER:
            return OVER_CALLER[at]
        if isinstance(event, PlaybackFinished):
            return AFTER_PLAYBACK.get((self.agent, event.idle))
        deaf = (
            self.protection is Protection.PROTECTED and self.agent in AUDIBLE and not isinstance(event, ProtectionEnded)
        )
        return (PROTECTED_AGENT if deaf else AGENT).get(at)
