"""What holds of every conversation, whatever comes in whatever order; and of the table itself."""

from collections import Counter
from enum import StrEnum

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentd.agent import CallerSpeechEnded, CallerSpeechStarted, NothingToSay
from agentd.agent import Ended as AgentEnded
from agentd.conversation import (
    AFTER_PLAYBACK,
    AGENT,
    CALLER,
    LINE,
    Agent,
    AgentFailed,
    Caller,
    CallerHungUp,
    Connected,
    Conversation,
    DigitPressed,
    DiscardAnswer,
    End,
    FeedDigit,
    Greet,
    Leave,
    Left,
    Line,
    MediaFailed,
    MediaLost,
    MediaRestored,
    PlaybackFinished,
    PlaybackStarted,
    Result,
    ShutdownDue,
    State,
    Step,
)

EVERY_EVENT = (
    Connected(),
    MediaLost("lost"),
    MediaRestored(),
    MediaFailed("failed"),
    AgentFailed("failed"),
    AgentEnded(),
    AgentEnded("broke"),
    CallerSpeechStarted(1.0),
    CallerSpeechEnded(2.0, 1.5),
    NothingToSay("nothing"),
    PlaybackStarted(1),
    PlaybackFinished(1, idle=True),
    PlaybackFinished(1, idle=False),
    DigitPressed("5"),
    CallerHungUp(),
    ShutdownDue(),
    Left(),
)
EVERY_STATE = tuple(Conversation(line, caller, agent) for line in Line for caller in Caller for agent in Agent)
ENDING = (Line.CLOSING, Line.ENDED)


def stepped(start: Conversation, event: object) -> tuple[Conversation, Step]:
    after = attrs.evolve(start)
    return after, after.step(event)


def key(state: Conversation) -> tuple[Line, Caller, Agent]:
    return state.line, state.caller, state.agent


def reachable() -> dict[tuple[Line, Caller, Agent], Conversation]:
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


# --- the table


def test_the_events_of_these_tests_are_all_that_the_table_knows() -> None:
    in_table = {kind for table in (LINE, CALLER, AGENT) for _, kind in table} | {PlaybackFinished}
    assert in_table == {type(event) for event in EVERY_EVENT}


@pytest.mark.parametrize("table, region", [(LINE, Line), (CALLER, Caller), (AGENT, Agent)])
def test_every_row_stays_within_its_region(
    table: dict[tuple[StrEnum, type], tuple[StrEnum, object]], region: type
) -> None:
    for (before, _), (after, _) in table.items():
        assert isinstance(before, region)
        assert isinstance(after, region)


def test_the_end_of_an_utterance_is_told_for_every_way_of_speaking() -> None:
    speaking = {Agent.SPEAKING, Agent.SPEAKING_OWING}
    assert set(AFTER_PLAYBACK) == {(agent, idle) for agent in speaking for idle in (True, False)}
    assert not any(kind is PlaybackFinished for _, kind in AGENT)


def test_every_state_and_event_give_a_step() -> None:
    for state in EVERY_STATE:
        for event in EVERY_EVENT:
            after, step = stepped(state, event)
            assert after.state in State
            assert {change.region for change in step.transitions} <= {"line", "caller", "agent"}


def test_every_state_of_each_region_can_be_reached() -> None:
    states = reachable()
    assert {line for line, _, _ in states} == set(Line)
    assert {caller for _, caller, _ in states} == set(Caller)
    assert {agent for _, _, agent in states} == set(Agent)


def test_every_row_is_used_by_some_conversation() -> None:
    states = reachable()
    talking = [state for state in states if state[0] in (Line.LIVE, Line.LOST)]
    assert {line for line, _ in LINE} <= {line for line, _, _ in states}
    assert {caller for caller, _ in CALLER} <= {caller for _, caller, _ in talking}
    assert {agent for agent, _ in AGENT} <= {agent for _, _, agent in talking}


def test_every_name_that_an_operator_reads_is_shown_by_some_state() -> None:
    assert {state.state for state in reachable().values()} == set(State)


def test_nothing_leads_out_of_the_end() -> None:
    assert not any(line is Line.ENDED for line, _ in LINE)


@pytest.mark.parametrize("line", [line for line in Line if line is not Line.ENDED])
def test_a_hang_up_ends_the_call_at_once_from_everywhere(line: Line) -> None:
    after, step = stepped(Conversation(line), CallerHungUp())
    assert after.line is Line.ENDED
    assert step.commands == (End(Result.CALLER_HUNG_UP),)


@pytest.mark.parametrize("line", [line for line in Line if line not in ENDING])
@pytest.mark.parametrize("event", [ShutdownDue(), MediaFailed("x"), AgentEnded(), AgentEnded("x")])
def test_whatever_ends_a_call_leaves_once_and_says_why(line: Line, event: object) -> None:
    after, step = stepped(Conversation(line), event)
    (leave,) = step.commands
    assert after.line is Line.CLOSING
    assert isinstance(leave, Leave)
    assert leave.announce is (leave.result is not Result.COMPLETED)
    assert leave.finish is (leave.result is Result.COMPLETED)


def test_every_result_is_told_by_its_reason_in_the_dialplan_s_words() -> None:
    assert all(result == result.lower() and " " not in result for result in Result)
    assert len({str(result) for result in Result}) == len(Result)


# --- any conversation


class AnyConversation(RuleBasedStateMachine):
    """Events in any order, as late threads and broken peers bring them."""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        self.given: list[object] = []
        self.ends_seen = 0
        self.was_live = False

    def take(self, event: object) -> Step:
        before = attrs.evolve(self.conversation)
        step = self.conversation.step(event)
        after = self.conversation
        self.given += step.commands
        self.was_live = self.was_live or after.line is Line.LIVE

        told = {change.region: (change.before, change.after) for change in step.transitions}
        assert len(told) == len(step.transitions), "a region moved twice in one step"
        for region in ("line", "caller", "agent"):
            moved = (getattr(before, region), getattr(after, region))
            assert told.get(region) == (moved if moved[0] is not moved[1] else None)
        assert all(change.event == type(event).__name__ for change in step.transitions)

        if before.line is Line.ENDED:
            assert step == Step((), ()), "something came of an event after the end"
        if before.line in ENDING:
            assert not any(isinstance(command, Leave | Greet | FeedDigit | DiscardAnswer) for command in step.commands)
            assert (after.caller, after.agent) == (before.caller, before.agent)
        if before.line is not Line.CLOSING and after.line is Line.CLOSING:
            assert [type(command) for command in step.commands] == [Leave]
        if after.line is Line.ENDED and before.line is not Line.ENDED:
            assert isinstance(event, CallerHungUp) or before.line is Line.CLOSING
        if any(isinstance(command, DiscardAnswer) for command in step.commands):
            assert before.agent is Agent.PREPARING, "only what was not yet heard may be discarded"
        if isinstance(event, DigitPressed):
            assert step.commands == ((FeedDigit(event.digit),) if before.line in (Line.LIVE, Line.LOST) else ())
        return step

    @rule(event=st.sampled_from(EVERY_EVENT))
    def anything_happens(self, event: object) -> None:
        self.take(event)

    @precondition(lambda self: self.conversation.line not in ENDING)
    @rule(
        event=st.sampled_from(
            [
                event
                for event in EVERY_EVENT
                if not isinstance(event, CallerHungUp | ShutdownDue | AgentEnded | MediaFailed | AgentFailed)
            ]
        )
    )
    def the_conversation_goes_on(self, event: object) -> None:
        self.take(event)

    @precondition(lambda self: self.conversation.line is Line.CONNECTING)
    @rule()
    def both_come_up(self) -> None:
        assert self.take(Connected()).commands == (Greet(),)

    @rule(digit=st.sampled_from("0123456789*#ABCD"))
    def a_digit_is_pressed(self, digit: str) -> None:
        self.take(DigitPressed(digit))

    @rule()
    def the_channel_is_gone(self) -> None:
        line = self.conversation.line
        self.take(Left())
        if line is not Line.CLOSING:
            assert self.conversation.line is line, "Left means something only after a Leave"

    @invariant()
    def a_call_ends_once(self) -> None:
        kinds = Counter(type(command) for command in self.given)
        assert kinds[End] <= 1
        assert kinds[Leave] <= 1
        assert kinds[Greet] <= 1

    @invariant()
    def nothing_follows_the_end(self) -> None:
        ends = [index for index, command in enumerate(self.given) if isinstance(command, End)]
        assert not ends or ends == [len(self.given) - 1]

    @invariant()
    def an_ended_call_was_hung_up_or_left(self) -> None:
        if self.conversation.line is Line.ENDED:
            assert any(isinstance(command, End | Leave) for command in self.given)

    @invariant()
    def only_a_call_that_was_live_is_greeted(self) -> None:
        assert (Greet() in self.given) is self.was_live

    @invariant()
    def the_operator_reads_one_of_six_names(self) -> None:
        state = self.conversation.state
        assert state in State
        assert (state is State.ENDED) is (self.conversation.line in ENDING)
        if state is State.CONNECTING:
            assert self.conversation.line in (Line.CONNECTING, Line.LOST)


AnyConversation.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyConversation = AnyConversation.TestCase
