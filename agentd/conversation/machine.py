"""The conversation of one call as a pure state machine: events in, commands out. No clock, no I/O.

Theory first. A call has five regions, each in one state at a time:

* the *line*: connecting (media leg and agent are coming up), live, lost (the media leg is gone and is being
  replaced), closing (an announcement may be heard, then the channel leaves), ended;
* the *caller*: silent, speaking, or hesitating (silent, but the turn may go on);
* the *agent*: idle; preparing an answer; withholding it (the caller may be going on); speaking; speaking attenuated
  (the caller has made a sound); paused (the caller may be taking the turn); speaking words that are no answer, with the
  answer to follow (a filler); or speaking while it already owes the next answer (the caller's turn was over before what
  is protected);
* *protection*: whether what is being heard may be interrupted;
* *hold*: whether the caller is there, or has put the call on hold.

An event is looked up in the table of every region. A region whose table has no row for it stays as it is;
so an event that comes late (a PlaybackFinished after the hang-up) is harmless by construction. Only the line
may end the call: when it leaves `live` or `lost`, the other regions hear nothing more. So no sound of the caller's
interrupts the words with which the agent ends the call, or transfers it.

An interruption goes by degrees, since words come later than sounds: at the onset the agent is attenuated, when the
sound goes on it pauses, and only when the caller takes the turn what it says is thrown away; a cough or a "mhm"
brings it back where it stopped, also where that is only likely yet. While protected, the agent is deaf to all of this,
and owes an answer afterwards; what was attenuated or paused is itself again when protection begins.

On hold the other regions go on: a turn that the hold has cut off ends, and its answer is prepared. It is the voice that
waits, in the middle of a word or before the first. What is due because nobody speaks is not due then.

The five names that operators see (Connecting, Streaming, Processing, Speaking, Idle) are a projection of the
regions: `Conversation.state`.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import attrs

from agentd import session_events as tells
from agentd.conversation import commands as do
from agentd.conversation import events as happens
from agentd.conversation.commands import Command, Phrase, Result


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


class Hold(StrEnum):
    OFF = "off hold"
    ON = "on hold"


class State(StrEnum):
    """The state as an operator reads it in logs, health and metrics."""

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
    return lambda event: (do.Leave(result, event.reason, announce=True),)


def _agent_ended(event: tells.Ended) -> tuple[Command, ...]:
    if event.failure:
        return (do.Leave(Result.FAILED_AGENT, event.failure, announce=True),)
    return (do.Leave(Result.COMPLETED, finish=True),)


def _departs(event: happens.DepartureRequested) -> tuple[Command, ...]:
    return (do.Leave(event.result, finish=True, destination=event.destination),)


def _goes(event: happens.CallerHungUp) -> tuple[Command, ...]:
    return (do.End(Result.TAKEN_AWAY if event.taken else Result.CALLER_HUNG_UP),)


_digit = lambda event: (do.FeedDigit(event.digit),)  # noqa: E731 - a row of the table, not a function of its own
_digit_interrupts = lambda event: (do.Interrupt(), do.FeedDigit(event.digit))  # noqa: E731 - the same
_answer = _does(do.Answer())
_withdraw = lambda event: (do.Withdraw(event.utterance),)  # noqa: E731 - the same
_withdraw_and_answer = lambda event: (do.Withdraw(event.utterance), do.Answer())  # noqa: E731 - the same
_withdraw_and_withhold = lambda event: (do.Withdraw(event.utterance), do.Withhold())  # noqa: E731 - the same
_give_way = _does(do.Interrupt(), do.Answer())
_attenuated = (Agent.ATTENUATED, _does(do.Attenuate()))
_restored = (Agent.SPEAKING, _does(do.Restore()))

_gone = (Line.ENDED, _goes)
_shutdown = (Line.CLOSING, _does(do.Leave(Result.SHUTDOWN, announce=True)))
_ended_by_agent = (Line.CLOSING, _agent_ended)
_departure = (Line.CLOSING, _departs)
_no_media = (Line.CLOSING, _fails(Result.FAILED_MEDIA))
_no_agent = (Line.CLOSING, _fails(Result.FAILED_AGENT))
_too_long = (Line.CLOSING, _does(do.Leave(Result.MAX_DURATION, announce=True)))
_dead_air = (Line.CLOSING, _fails(Result.FAILED_SILENCE))
_nobody_there = (Line.CLOSING, _does(do.Leave(Result.CALLER_SILENT, announce=True)))

LINE: Mapping[tuple[Line, type], Row] = {
    (Line.CONNECTING, happens.Connected): (Line.LIVE, _does(do.Say(Phrase.GREETING))),
    (Line.CONNECTING, happens.MediaFailed): _no_media,
    (Line.CONNECTING, happens.AgentFailed): _no_agent,
    (Line.CONNECTING, tells.Ended): _ended_by_agent,
    (Line.CONNECTING, happens.DepartureRequested): _departure,
    (Line.CONNECTING, happens.CallerHungUp): _gone,
    (Line.CONNECTING, happens.ShutdownDue): _shutdown,
    (Line.LIVE, happens.MediaLost): (Line.LOST, _nothing),
    (Line.LIVE, happens.MediaFailed): _no_media,
    (Line.LIVE, happens.AgentFailed): _no_agent,  # of a call that another agentd has begun
    (Line.LIVE, tells.Ended): _ended_by_agent,
    (Line.LIVE, happens.DepartureRequested): _departure,
    (Line.LIVE, happens.CallerHungUp): _gone,
    (Line.LIVE, happens.ShutdownDue): _shutdown,
    (Line.LIVE, happens.DurationWarningDue): (Line.LIVE, _does(do.Say(Phrase.DURATION_WARNING))),
    (Line.LIVE, happens.DurationOver): _too_long,
    (Line.LIVE, happens.SilenceOver): _nobody_there,
    (Line.LIVE, happens.DeadAir): _dead_air,
    (Line.LOST, happens.MediaRestored): (Line.LIVE, _nothing),
    (Line.LOST, happens.MediaFailed): _no_media,
    (Line.LOST, happens.AgentFailed): _no_agent,
    (Line.LOST, tells.Ended): _ended_by_agent,
    (Line.LOST, happens.DepartureRequested): _departure,
    (Line.LOST, happens.CallerHungUp): _gone,
    (Line.LOST, happens.ShutdownDue): _shutdown,
    (Line.LOST, happens.DurationOver): _too_long,
    (Line.LOST, happens.DeadAir): _no_media,
    (Line.CLOSING, happens.CallerHungUp): _gone,
    (Line.CLOSING, happens.Left): (Line.ENDED, _nothing),
}

CALLER: Mapping[tuple[Caller, type], Row] = {
    (Caller.SILENT, tells.CallerSpeechStarted): (Caller.SPEAKING, _nothing),
    (Caller.SPEAKING, tells.CallerPaused): (Caller.HESITATING, _nothing),
    (Caller.SPEAKING, tells.CallerSpeechEnded): (Caller.SILENT, _nothing),
    (Caller.SPEAKING, tells.CallerSpeechDismissed): (Caller.SILENT, _nothing),
    (Caller.SPEAKING, happens.MediaLost): (Caller.SILENT, _nothing),
    (Caller.HESITATING, tells.CallerSpeechResumed): (Caller.SPEAKING, _nothing),
    (Caller.HESITATING, tells.CallerSpeechEnded): (Caller.SILENT, _nothing),
    (Caller.HESITATING, tells.CallerSpeechDismissed): (Caller.SILENT, _nothing),
    (Caller.HESITATING, happens.MediaLost): (Caller.SILENT, _nothing),
    # The new session will tell what the caller was doing: it is given the caller's audio again.
    (Caller.SPEAKING, happens.AgentReplaced): (Caller.SILENT, _nothing),
    (Caller.HESITATING, happens.AgentReplaced): (Caller.SILENT, _nothing),
}

AGENT: Mapping[tuple[Agent, type], Row] = {
    (Agent.IDLE, tells.CallerSpeechEnded): (Agent.PREPARING, _answer),
    (Agent.IDLE, happens.PlaybackStarted): (Agent.SPEAKING, _nothing),
    (Agent.IDLE, happens.AsideStarted): (Agent.SPEAKING, _nothing),
    (Agent.IDLE, happens.DigitPressed): (Agent.IDLE, _digit),
    (Agent.IDLE, happens.CheckInDue): (Agent.IDLE, _does(do.Say(Phrase.CHECK_IN))),
    (Agent.PREPARING, tells.CallerSpeechStarted): (Agent.WITHHOLDING, _does(do.Withhold())),
    (Agent.PREPARING, tells.CallerSpeechEnded): (Agent.PREPARING, _answer),
    (Agent.PREPARING, happens.PlaybackStarted): (Agent.SPEAKING, _nothing),
    (Agent.PREPARING, happens.AsideStarted): (Agent.SPEAKING_ASIDE, _nothing),
    (Agent.PREPARING, tells.NothingToSay): (Agent.IDLE, _nothing),
    (Agent.PREPARING, happens.AnswerSlow): (Agent.PREPARING, _does(do.Say(Phrase.FILLER))),
    (Agent.PREPARING, happens.DigitPressed): (Agent.PREPARING, _digit),
    (Agent.WITHHOLDING, tells.CallerSpeechDismissed): (Agent.PREPARING, _answer),
    # The caller goes on before anything was heard: that answer was to half a question.
    (Agent.WITHHOLDING, tells.CallerTakesTurn): (Agent.IDLE, _does(do.Interrupt())),
    (Agent.WITHHOLDING, tells.CallerSpeechEnded): (Agent.PREPARING, _give_way),
    # It was on its way already.
    (Agent.WITHHOLDING, happens.PlaybackStarted): _attenuated,
    (Agent.WITHHOLDING, happens.AsideStarted): (Agent.SPEAKING_ASIDE, _nothing),
    (Agent.WITHHOLDING, tells.NothingToSay): (Agent.IDLE, _nothing),
    (Agent.WITHHOLDING, happens.DigitPressed): (Agent.WITHHOLDING, _digit),
    (Agent.SPEAKING, tells.CallerSpeechStarted): _attenuated,
    (Agent.SPEAKING, tells.CallerSpeechConfirmed): (Agent.PAUSED, _does(do.Pause())),
    (Agent.SPEAKING, tells.CallerTakesTurn): (Agent.IDLE, _does(do.Interrupt())),
    (Agent.SPEAKING, tells.CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.SPEAKING, happens.DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.ATTENUATED, tells.CallerSpeechConfirmed): (Agent.PAUSED, _does(do.Pause())),
    (Agent.ATTENUATED, tells.CallerSpeechDismissed): _restored,
    (Agent.ATTENUATED, tells.CallerSpeechDoubted): _restored,
    (Agent.ATTENUATED, tells.CallerTakesTurn): (Agent.IDLE, _does(do.Interrupt())),
    (Agent.ATTENUATED, tells.CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.ATTENUATED, happens.DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.ATTENUATED, happens.ProtectionBegan): _restored,
    (Agent.PAUSED, tells.CallerSpeechDismissed): _restored,
    # The turn goes on; should it be one after all it is taken while the agent speaks.
    (Agent.PAUSED, tells.CallerSpeechDoubted): _restored,
    (Agent.PAUSED, tells.CallerTakesTurn): (Agent.IDLE, _does(do.Interrupt())),
    (Agent.PAUSED, tells.CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.PAUSED, happens.DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.PAUSED, happens.ProtectionBegan): _restored,
    (Agent.SPEAKING_ASIDE, tells.CallerTakesTurn): (Agent.IDLE, _does(do.Interrupt())),
    (Agent.SPEAKING_ASIDE, tells.CallerSpeechEnded): (Agent.PREPARING, _give_way),
    (Agent.SPEAKING_ASIDE, tells.NothingToSay): (Agent.SPEAKING, _nothing),
    (Agent.SPEAKING_ASIDE, happens.DigitPressed): (Agent.IDLE, _digit_interrupts),
    (Agent.SPEAKING_OWING, happens.ProtectionEnded): (Agent.PREPARING, _give_way),
    # The agent takes back what is being heard (or is about to be); its answer follows.
    (Agent.IDLE, tells.Withdrawn): (Agent.IDLE, _withdraw),
    (Agent.PREPARING, tells.Withdrawn): (Agent.PREPARING, _withdraw),
    (Agent.WITHHOLDING, tells.Withdrawn): (Agent.WITHHOLDING, _withdraw),
    (Agent.SPEAKING, tells.Withdrawn): (Agent.PREPARING, _withdraw),
    (Agent.ATTENUATED, tells.Withdrawn): (Agent.WITHHOLDING, _withdraw_and_withhold),
    (Agent.PAUSED, tells.Withdrawn): (Agent.WITHHOLDING, _withdraw_and_withhold),
    (Agent.SPEAKING_ASIDE, tells.Withdrawn): (Agent.SPEAKING_ASIDE, _withdraw),
    # A new session answers what is owed by itself.
    (Agent.WITHHOLDING, happens.AgentReplaced): (Agent.PREPARING, _nothing),
    (Agent.ATTENUATED, happens.AgentReplaced): _restored,
    (Agent.PAUSED, happens.AgentReplaced): _restored,
    (Agent.SPEAKING_OWING, happens.AgentReplaced): (Agent.SPEAKING, _nothing),
}

# While what is heard is protected, these rows stand instead of those above.
PROTECTED_AGENT: Mapping[tuple[Agent, type], Row] = {
    (Agent.SPEAKING, tells.CallerSpeechEnded): (Agent.SPEAKING_OWING, _nothing),
    (Agent.SPEAKING, happens.DigitPressed): (Agent.SPEAKING, _digit),
    (Agent.SPEAKING_ASIDE, tells.CallerSpeechEnded): (Agent.SPEAKING_OWING, _nothing),
    (Agent.SPEAKING_ASIDE, tells.NothingToSay): (Agent.SPEAKING, _nothing),
    (Agent.SPEAKING_ASIDE, happens.DigitPressed): (Agent.SPEAKING_ASIDE, _digit),
    (Agent.SPEAKING_OWING, tells.NothingToSay): (Agent.SPEAKING, _nothing),
    (Agent.SPEAKING_OWING, happens.DigitPressed): (Agent.SPEAKING_OWING, _digit),
    (Agent.SPEAKING_OWING, happens.AgentReplaced): (Agent.SPEAKING, _nothing),
    # What has to be heard to its end are the agent's words, and these were none.
    (Agent.SPEAKING, tells.Withdrawn): (Agent.PREPARING, _withdraw),
    (Agent.SPEAKING_ASIDE, tells.Withdrawn): (Agent.SPEAKING_ASIDE, _withdraw),
    (Agent.SPEAKING_OWING, tells.Withdrawn): (Agent.PREPARING, _withdraw_and_answer),
}

# While the caller is not silent, these rows come first: what begins or ends meanwhile is no onset of the caller's.
OVER_CALLER: Mapping[tuple[Agent, type], Row] = {
    (Agent.IDLE, happens.PlaybackStarted): _attenuated,
    (Agent.IDLE, happens.AsideStarted): _attenuated,
    (Agent.SPEAKING, happens.ProtectionEnded): (Agent.PAUSED, _does(do.Pause())),
    (Agent.SPEAKING_ASIDE, happens.PlaybackFinished): (Agent.WITHHOLDING, _does(do.Withhold())),
    (Agent.SPEAKING_OWING, happens.PlaybackFinished): (Agent.WITHHOLDING, _nothing),
    (Agent.SPEAKING_OWING, happens.ProtectionEnded): (Agent.WITHHOLDING, _does(do.Interrupt())),
    (Agent.SPEAKING, tells.Withdrawn): (Agent.WITHHOLDING, _withdraw_and_withhold),
    (Agent.SPEAKING_OWING, tells.Withdrawn): (Agent.WITHHOLDING, _withdraw),
}

PROTECTION: Mapping[tuple[Protection, type], Row] = {
    (Protection.OPEN, happens.ProtectionBegan): (Protection.PROTECTED, _nothing),
    (Protection.PROTECTED, happens.ProtectionEnded): (Protection.OPEN, _nothing),
}

HOLD: Mapping[tuple[Hold, type], Row] = {
    (Hold.OFF, happens.HoldBegan): (Hold.ON, _does(do.Hold())),
    (Hold.ON, happens.HoldEnded): (Hold.OFF, _does(do.Unhold())),
    (Hold.ON, happens.CallerReplaced): (Hold.OFF, _does(do.Unhold())),
}

NOT_ON_HOLD = frozenset({happens.CheckInDue, happens.SilenceOver, happens.AnswerSlow, happens.DurationWarningDue})
"""Who holds is not asked, nor told anything, nor taken for one who has gone."""

# The end of an utterance leaves the agent speaking for as long as another one waits.
AFTER_PLAYBACK: Mapping[tuple[Agent, bool], Row] = {
    (Agent.SPEAKING, True): (Agent.IDLE, _nothing),
    (Agent.ATTENUATED, True): (Agent.IDLE, _does(do.Restore())),
    (Agent.PAUSED, True): (Agent.IDLE, _does(do.Restore())),
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
    """The effects of one event."""

    commands: tuple[Command, ...]
    transitions: tuple[Transition, ...]


@attrs.define
class Conversation:
    """The state of one call's conversation; `step` is its only way to change."""

    line: Line = Line.CONNECTING
    caller: Caller = Caller.SILENT
    agent: Agent = Agent.IDLE
    protection: Protection = Protection.OPEN
    hold: Hold = Hold.OFF

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
        if self.hold is Hold.ON and kind in NOT_ON_HOLD:
            return Step((), ())

        def move(region: str, before: Any, row: Row | None) -> Any:
            if row is None:
                return before
            after, act = row
            commands.extend(act(event))
            if after is not before:
                transitions.append(Transition(region, before, after, kind.__name__))
            return after

        self.line = move("line", self.line, LINE.get((self.line, kind)))
        if self.line is not Line.ENDED and (self.hold is Hold.ON or self.line is not Line.CLOSING):
            self.hold = move("hold", self.hold, HOLD.get((self.hold, kind)))
        if talking:
            self.caller = move("caller", self.caller, CALLER.get((self.caller, kind)))
            self.agent = move("agent", self.agent, self._agent_row(event))
            self.protection = move("protection", self.protection, PROTECTION.get((self.protection, kind)))
        return Step(tuple(commands), tuple(transitions))

    def _agent_row(self, event: object) -> Row | None:
        at = (self.agent, type(event))
        if self.caller is not Caller.SILENT and at in OVER_CALLER:
            return OVER_CALLER[at]
        if isinstance(event, happens.PlaybackFinished):
            return AFTER_PLAYBACK.get((self.agent, event.idle))
        deaf = (
            self.protection is Protection.PROTECTED
            and self.agent in AUDIBLE
            and not isinstance(event, happens.ProtectionEnded)
        )
        return (PROTECTED_AGENT if deaf else AGENT).get(at)
