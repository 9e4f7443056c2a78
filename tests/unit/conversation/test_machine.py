"""What holds of every conversation, whatever comes in whatever order; and of the tables themselves."""

from collections import Counter
from enum import StrEnum

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentd import session_events as tells
from agentd.conversation import commands as do
from agentd.conversation import events as happens
from agentd.conversation.commands import Destination, Phrase, Result
from agentd.conversation.machine import (
    AFTER_PLAYBACK,
    AGENT,
    AUDIBLE,
    CALLER,
    HOLD,
    LINE,
    NOT_ON_HOLD,
    OVER_CALLER,
    PROTECTED_AGENT,
    PROTECTION,
    Agent,
    Caller,
    Conversation,
    Hold,
    Line,
    Protection,
    State,
    Step,
)

EVERY_EVENT = (
    happens.Connected(),
    happens.MediaLost("lost"),
    happens.MediaRestored(),
    happens.MediaFailed("failed"),
    happens.AgentFailed("failed"),
    happens.AgentReplaced(),
    tells.Ended(),
    tells.Ended("broke"),
    tells.CallerSpeechStarted(1.0),
    tells.CallerSpeechConfirmed(1.2),
    tells.CallerSpeechDoubted(1.3),
    tells.CallerTakesTurn(1.4),
    tells.CallerSpeechDismissed("noise"),
    tells.CallerPaused(1.6),
    tells.CallerSpeechResumed(1.8),
    tells.CallerSpeechEnded(2.0, 1.5),
    tells.NothingToSay("nothing"),
    tells.Withdrawn(1),
    happens.PlaybackStarted(1),
    happens.AsideStarted(2),
    happens.PlaybackFinished(1, idle=True),
    happens.PlaybackFinished(1, idle=False),
    happens.ProtectionBegan(),
    happens.ProtectionEnded(),
    happens.CheckInDue(),
    happens.SilenceOver(),
    happens.DeadAir("nobody is heard"),
    happens.AnswerSlow(),
    happens.DurationWarningDue(),
    happens.DurationOver(),
    happens.HoldBegan(),
    happens.HoldEnded(),
    happens.CallerReplaced("PJSIP/sales-2"),
    happens.DigitPressed("5"),
    happens.DepartureRequested(Result.COMPLETED),
    happens.DepartureRequested(Result.TRANSFERRED, Destination("from-internal", "200")),
    happens.CallerHungUp(),
    happens.CallerHungUp(taken=True),
    happens.ShutdownDue(),
    happens.Left(),
)
ENDING = (Line.CLOSING, Line.ENDED)
TALKING = (Line.LIVE, Line.LOST)
LOWERED = (Agent.ATTENUATED, Agent.PAUSED)
REGIONS = ("line", "caller", "agent", "protection", "hold")
AGENT_TABLES = (AGENT, PROTECTED_AGENT, OVER_CALLER)
Key = tuple[Line, Caller, Agent, Protection, Hold]


def stepped(start: Conversation, event: object) -> tuple[Conversation, Step]:
    after = attrs.evolve(start)
    return after, after.step(event)


def key(state: Conversation) -> Key:
    return state.line, state.caller, state.agent, state.protection, state.hold


def reachable() -> dict[Key, Conversation]:
    start = Conversation()
    found, waiting = {key(start): start}, [start]
    while waiting:
        state = waiting.pop()
        for event in EVERY_EVENT:
            after, _ = stepped(state, event)
            if key(after) not in found:
                found[key(after)] = after
                waiting.append(after)
    return found


# --- the tables


def test_the_events_of_these_tests_are_all_that_the_tables_know() -> None:
    in_table = {kind for table in (LINE, CALLER, PROTECTION, HOLD, *AGENT_TABLES) for _, kind in table}
    assert in_table | {happens.PlaybackFinished} == {type(event) for event in EVERY_EVENT}


@pytest.mark.parametrize(
    "table, region",
    [
        (LINE, Line),
        (CALLER, Caller),
        (PROTECTION, Protection),
        (HOLD, Hold),
        *[(table, Agent) for table in AGENT_TABLES],
    ],
)
def test_every_row_stays_within_its_region(
    table: dict[tuple[StrEnum, type], tuple[StrEnum, object]], region: type
) -> None:
    for (before, _), (after, _) in table.items():
        assert isinstance(before, region)
        assert isinstance(after, region)


def test_the_end_of_the_last_utterance_is_told_for_every_way_of_speaking() -> None:
    assert {agent for agent, idle in AFTER_PLAYBACK if idle} == AUDIBLE
    assert not any(kind is happens.PlaybackFinished for table in (AGENT, PROTECTED_AGENT) for _, kind in table)


def test_only_what_is_audible_can_be_protected() -> None:
    assert {agent for agent, _ in PROTECTED_AGENT} <= AUDIBLE


def test_every_row_is_used_by_some_conversation() -> None:
    talking = [state for state in reachable() if state[0] in TALKING]
    assert {line for line, _ in LINE} <= {line for line, *_ in reachable()}
    assert {caller for caller, _ in CALLER} <= {caller for _, caller, *_ in talking}
    assert {agent for agent, _ in AGENT} <= {agent for _, _, agent, *_ in talking}
    protected = {agent for _, _, agent, protection, _ in talking if protection is Protection.PROTECTED}
    assert {agent for agent, _ in PROTECTED_AGENT} <= protected
    over = {agent for _, caller, agent, *_ in talking if caller is not Caller.SILENT}
    assert {agent for agent, _ in OVER_CALLER} <= over


def test_every_state_of_each_region_can_be_reached() -> None:
    for region, states in zip((Line, Caller, Agent, Protection, Hold), zip(*reachable(), strict=True), strict=True):
        assert set(states) == set(region)


def test_every_name_that_an_operator_reads_is_shown_by_some_state() -> None:
    assert {state.state for state in reachable().values()} == set(State)


def test_nothing_leads_out_of_the_end() -> None:
    assert not any(line is Line.ENDED for line, _ in LINE)


@pytest.mark.parametrize(("taken", "result"), [(False, Result.CALLER_HUNG_UP), (True, Result.TAKEN_AWAY)])
@pytest.mark.parametrize("line", [line for line in Line if line is not Line.ENDED])
def test_a_hang_up_ends_the_call_at_once_from_everywhere(line: Line, taken: bool, result: Result) -> None:
    after, step = stepped(Conversation(line), happens.CallerHungUp(taken))
    assert after.line is Line.ENDED
    assert step.commands == (do.End(result),)


@pytest.mark.parametrize("line", [line for line in Line if line not in ENDING])
@pytest.mark.parametrize(
    "event",
    [
        happens.ShutdownDue(),
        happens.MediaFailed("x"),
        tells.Ended(),
        tells.Ended("x"),
        happens.DepartureRequested(Result.TRANSFERRED),
    ],
)
def test_whatever_ends_a_call_leaves_once_and_says_why(line: Line, event: object) -> None:
    after, step = stepped(Conversation(line), event)
    (leave,) = step.commands
    assert after.line is Line.CLOSING
    assert isinstance(leave, do.Leave)
    by_the_agent = leave.result in (Result.COMPLETED, Result.TRANSFERRED)
    assert leave.announce is not by_the_agent
    assert leave.finish is by_the_agent


def test_every_result_is_told_by_its_reason_in_the_dialplan_s_words() -> None:
    assert all(result == result.lower() and " " not in result for result in Result)
    assert len({str(result) for result in Result}) == len(Result)


# --- any events in any order, as late threads and broken peers bring them


class AnyConversation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        self.given: list[object] = []
        self.lowered = False
        self.was_live = False

    def take(self, event: object) -> Step:
        before = attrs.evolve(self.conversation)
        step = self.conversation.step(event)
        after = self.conversation
        self.given += step.commands
        self.was_live = self.was_live or after.line is Line.LIVE
        for command in step.commands:
            self.lowered = isinstance(command, do.Attenuate | do.Pause) or (
                self.lowered and not isinstance(command, do.Restore | do.Interrupt)
            )

        told = {change.region: (change.before, change.after) for change in step.transitions}
        assert len(told) == len(step.transitions), "a region moved twice in one step"
        for region in REGIONS:
            moved = (getattr(before, region), getattr(after, region))
            assert told.get(region) == (moved if moved[0] is not moved[1] else None)
        assert all(change.event == type(event).__name__ for change in step.transitions)

        self.the_end_holds(before, step, event)
        self.manners_hold(before, step, event)
        return step

    def the_end_holds(self, before: Conversation, step: Step, event: object) -> None:
        after = self.conversation
        if before.line is Line.ENDED:
            assert step == Step((), ()), "something came of an event after the end"
        if before.line not in TALKING:
            assert all(
                isinstance(command, do.End | do.Leave | do.Say | do.Hold | do.Unhold) for command in step.commands
            )
            assert key(before)[1:-1] == key(after)[1:-1], "caller and agent are heard while the line is live or lost"
        if before.line is not Line.CLOSING and after.line is Line.CLOSING:
            assert [type(command) for command in step.commands] == [do.Leave]
        if after.line in ENDING and before.line not in ENDING:
            assert any(isinstance(command, do.End | do.Leave) for command in step.commands)
            assert type(event) in {kind for _, kind in LINE}, "only the line ends a call"
        if after.line is Line.ENDED and before.line is not Line.ENDED:
            assert isinstance(event, happens.CallerHungUp) or before.line is Line.CLOSING

    def manners_hold(self, before: Conversation, step: Step, event: object) -> None:
        after, kinds = self.conversation, [type(command) for command in step.commands]
        if do.Answer in kinds:
            assert after.agent is Agent.PREPARING
            assert after.caller is Caller.SILENT, "an answer while the caller speaks"
            silenced = do.Interrupt in kinds[: kinds.index(do.Answer)] or isinstance(event, happens.PlaybackFinished)
            assert before.agent not in AUDIBLE or silenced, "an answer while the agent is audible"
        if before.hold is Hold.ON and type(event) in NOT_ON_HOLD:
            assert (before, step) == (after, Step((), ())), "who holds is left alone"
        if do.Hold in kinds or do.Unhold in kinds:
            assert before.hold is not after.hold
            assert before.line is not Line.CLOSING or do.Unhold in kinds, "the last words are said"
        if do.Withhold in kinds:
            assert after.agent is Agent.WITHHOLDING
            assert before.agent in (Agent.PREPARING, Agent.SPEAKING_ASIDE), "only what is to come can be withheld"
        if before.protection is Protection.PROTECTED and before.agent in AUDIBLE:
            assert isinstance(event, happens.ProtectionEnded) or not {do.Attenuate, do.Pause, do.Interrupt} & set(kinds)
        if isinstance(event, happens.DigitPressed):
            fed = [command for command in step.commands if isinstance(command, do.FeedDigit)]
            assert fed == ([do.FeedDigit(event.digit)] if before.line in TALKING else [])
        if before.agent in AUDIBLE and after.agent not in AUDIBLE and not isinstance(event, happens.PlaybackFinished):
            assert do.Interrupt in kinds, "nobody told the agent to be silent"

    @rule(event=st.sampled_from(EVERY_EVENT))
    def anything_happens(self, event: object) -> None:
        self.take(event)

    @precondition(lambda self: self.conversation.line not in ENDING)
    @rule(event=st.sampled_from([event for event in EVERY_EVENT if (Line.CLOSING, type(event)) not in LINE]))
    def the_conversation_goes_on(self, event: object) -> None:
        self.take(event)

    @precondition(lambda self: self.conversation.line is Line.CONNECTING)
    @rule()
    def both_come_up(self) -> None:
        assert self.take(happens.Connected()).commands == (do.Say(Phrase.GREETING),)

    @rule(digit=st.sampled_from("0123456789*#ABCD"))
    def a_digit_is_pressed(self, digit: str) -> None:
        self.take(happens.DigitPressed(digit))

    @rule()
    def the_channel_is_gone(self) -> None:
        line = self.conversation.line
        self.take(happens.Left())
        if line is not Line.CLOSING:
            assert self.conversation.line is line, "Left means something only after a Leave"

    @invariant()
    def a_call_ends_once(self) -> None:
        kinds = Counter(type(command) for command in self.given)
        assert kinds[do.End] <= 1
        assert kinds[do.Leave] <= 1

    @invariant()
    def nothing_follows_the_end(self) -> None:
        ends = [index for index, command in enumerate(self.given) if isinstance(command, do.End)]
        assert not ends or ends == [len(self.given) - 1]

    @invariant()
    def an_ended_call_was_hung_up_or_left(self) -> None:
        if self.conversation.line is Line.ENDED:
            assert any(isinstance(command, do.End | do.Leave) for command in self.given)

    @invariant()
    def a_call_that_was_live_is_greeted_once(self) -> None:
        assert self.given.count(do.Say(Phrase.GREETING)) == self.was_live

    @invariant()
    def the_level_is_low_just_while_a_sound_of_the_caller_s_is_judged(self) -> None:
        assert self.lowered is (self.conversation.agent in LOWERED)

    @invariant()
    def an_answer_is_owed_to_protection_only(self) -> None:
        if self.conversation.agent is Agent.SPEAKING_OWING:
            assert self.conversation.protection is Protection.PROTECTED

    @invariant()
    def the_operator_reads_one_of_six_names(self) -> None:
        state = self.conversation.state
        assert state in State
        assert (state is State.ENDED) is (self.conversation.line in ENDING)
        if state is State.CONNECTING:
            assert self.conversation.line in (Line.CONNECTING, Line.LOST)


# --- a call as a session that keeps its contract and a voice of one utterance at a time make it


class OneCall(RuleBasedStateMachine):
    """Every answer and every sound comes to its end: nothing is forgotten, nothing said twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        self.speaking = False  # the caller, as the session judges it
        self.answer = ""  # "" (none), "kept" (not let go yet), "let go", "withheld"
        self.asides = 0  # that are being synthesised
        self.playout: list[type] = []  # utterances that wait to be heard
        self.playing = self.protected = False
        self.low = False

    @initialize()
    def connect(self) -> None:
        self.take(happens.Connected())

    def take(self, event: object) -> Step:
        step = self.conversation.step(event)
        for command in step.commands:
            match command:
                case do.Say():
                    self.asides += 1
                case do.Answer() if self.answer:
                    self.answer = "let go"
                case do.Withhold() if self.answer:
                    self.answer = "withheld"
                case do.Interrupt():
                    if self.answer in ("let go", "withheld"):
                        assert not isinstance(event, happens.ProtectionEnded), (
                            "no notice may cost an answer that was let go"
                        )
                        self.answer = ""
                    self.asides, self.playout, self.low = 0, [], False
                case do.Attenuate() | do.Pause():
                    self.low = True
                case do.Restore():
                    self.low = False
        return step

    # the caller

    @precondition(lambda self: not self.speaking)
    @rule()
    def a_sound(self) -> None:
        self.speaking = True
        self.take(tells.CallerSpeechStarted(1.0))

    @precondition(lambda self: self.speaking)
    @rule(
        event=st.sampled_from(
            [
                tells.CallerSpeechConfirmed(1.2),
                tells.CallerSpeechDoubted(1.3),
                tells.CallerTakesTurn(1.4),
                tells.CallerPaused(1.6),
                tells.CallerSpeechResumed(1.8),
            ]
        )
    )
    def more_of_the_sound(self, event: object) -> None:
        self.take(event)

    @precondition(lambda self: self.speaking)
    @rule()
    def a_turn(self) -> None:
        self.speaking, self.answer = False, "kept"
        step = self.take(tells.CallerSpeechEnded(2.0, 1.5))
        assert self.protected or do.Answer() in step.commands

    @precondition(lambda self: self.speaking)
    @rule()
    def nothing(self) -> None:
        self.speaking = False
        self.take(tells.CallerSpeechDismissed("noise"))

    @rule()
    def a_digit(self) -> None:
        interrupts = do.Interrupt() in self.take(happens.DigitPressed("5")).commands
        assert not (interrupts and self.protected)

    # the agent

    @precondition(lambda self: self.answer == "let go")
    @rule()
    def the_answer_is_ready(self) -> None:
        self.answer = ""
        self.playout.append(happens.PlaybackStarted)

    @precondition(lambda self: self.answer)
    @rule()
    def there_is_no_answer(self) -> None:
        self.answer = ""
        self.take(tells.NothingToSay("no words"))

    @precondition(lambda self: self.asides)
    @rule()
    def an_aside_is_ready(self) -> None:
        self.asides -= 1
        self.playout.append(happens.AsideStarted)

    @precondition(lambda self: self.playout and not self.playing)
    @rule()
    def an_utterance_begins(self) -> None:
        self.playing = True
        self.take(self.playout.pop(0)(1))

    @precondition(lambda self: self.playing and not self.protected)
    @rule()
    def the_notice_begins(self) -> None:
        self.protected = True
        self.take(happens.ProtectionBegan())
        assert not self.low, "what must be heard is heard at full level"

    @precondition(lambda self: self.protected)
    @rule()
    def the_notice_is_over(self) -> None:
        self.protected = False
        self.take(happens.ProtectionEnded())

    @precondition(lambda self: self.playing)
    @rule()
    def the_utterance_ends(self) -> None:
        self.playing = False
        self.take(happens.PlaybackFinished(1, idle=not self.playout))
        if self.protected:
            self.the_notice_is_over()

    # time

    @rule(
        event=st.sampled_from(
            [
                happens.CheckInDue(),
                happens.AnswerSlow(),
                happens.DurationWarningDue(),
                happens.MediaLost("lost"),
                happens.MediaRestored(),
            ]
        )
    )
    def time_passes(self, event: object) -> None:
        self.take(event)

    @invariant()
    def what_is_withheld_will_be_let_go_or_thrown_away(self) -> None:
        if self.answer == "withheld":
            assert self.conversation.agent in (Agent.WITHHOLDING, Agent.SPEAKING_ASIDE)

    def teardown(self) -> None:
        """The caller falls silent, and everything that is on its way is heard: then the call is at rest."""
        self.take(happens.MediaRestored())
        while self.speaking or self.playing or self.playout or self.asides or self.answer == "let go":
            if self.speaking:
                self.nothing()
            elif self.playing:
                self.the_utterance_ends()
            elif self.playout:
                self.an_utterance_begins()
            elif self.asides:
                self.an_aside_is_ready()
            else:
                self.the_answer_is_ready()
        assert not self.answer, "an answer was forgotten"
        at_rest = (Line.LIVE, Caller.SILENT, Agent.IDLE, Protection.OPEN, Hold.OFF)
        assert (key(self.conversation), self.low) == (at_rest, False)
        self.take(happens.CheckInDue())
        assert self.asides == 1, "nobody looks after a call that does not come to rest"


for machine in (AnyConversation, OneCall):
    machine.TestCase.settings = settings(
        max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
TestAnyConversation = AnyConversation.TestCase
TestOneCall = OneCall.TestCase
