"""Neither side is heard, whatever the cause."""

import math

import pytest

from agentd.conversation import commands as do
from agentd.conversation import events as happens
from agentd.conversation.commands import Result
from agentd.conversation.dead_air import DeadAir, Ears
from agentd.conversation.machine import Agent, Caller, Conversation, Line

NOBODY = Ears()


def state(agent: Agent = Agent.IDLE, caller: Caller = Caller.SILENT, line: Line = Line.LIVE) -> Conversation:
    return Conversation(line, caller, agent)


def watching(*, checks_in: bool = True, after: float = 20.0) -> DeadAir:
    """A call that went live at second 0."""
    dead_air = DeadAir(after, checks_in)
    assert not dead_air.due(state(), NOBODY, 0.0)
    return dead_air


@pytest.mark.parametrize("line", [Line.LIVE, Line.LOST])
@pytest.mark.parametrize("caller", Caller)
@pytest.mark.parametrize("agent", Agent)
def test_a_silence_is_dead_air_whatever_the_conversation_takes_itself_for(
    line: Line, caller: Caller, agent: Agent
) -> None:
    dead_air, conversation = watching(), state(agent, caller, line)
    assert dead_air.next_at == 20.0
    assert not dead_air.due(conversation, NOBODY, 19.9)
    (event,) = dead_air.due(conversation, NOBODY, 20.0)
    assert event.reason == (
        f"neither side was heard for 20 s: the line is {line}, the caller {caller}, the agent {agent}"
    )
    step = conversation.step(event)
    assert conversation.line is Line.CLOSING
    known = Result.FAILED_MEDIA if line is Line.LOST else Result.FAILED_SILENCE
    assert step.commands == (do.Leave(known, event.reason, announce=True),)


def test_it_is_told_once() -> None:
    dead_air = watching()
    assert dead_air.due(state(), NOBODY, 20.0)
    assert dead_air.next_at == math.inf
    assert not dead_air.due(state(), NOBODY, 40.0)


@pytest.mark.parametrize("ears", [Ears(caller_at=15.0), Ears(agent_at=15.0), Ears(caller_at=15.0, agent_at=3.0)])
def test_whoever_was_heard_last_ends_a_silence(ears: Ears) -> None:
    dead_air = watching()
    assert not dead_air.due(state(), ears, 20.0)
    assert dead_air.next_at == 35.0
    assert dead_air.due(state(), ears, 35.0)


def test_what_has_its_reason_is_no_dead_air_and_counts_anew_afterwards() -> None:
    dead_air = watching()
    assert not dead_air.due(state(), Ears(excused=True), 20.0)
    assert not dead_air.due(state(), Ears(excused=True), 90.0)
    assert dead_air.next_at == 110.0
    assert dead_air.due(state(), NOBODY, 110.0)


@pytest.mark.parametrize("line", [Line.CONNECTING, Line.CLOSING, Line.ENDED])
def test_a_call_that_is_not_on_is_none_of_its_business(line: Line) -> None:
    dead_air = watching()
    assert not dead_air.due(state(line=line), NOBODY, 20.0)
    assert dead_air.next_at == math.inf


def test_it_can_be_switched_off() -> None:
    dead_air = watching(after=0.0)
    assert dead_air.next_at == math.inf
    assert not dead_air.due(state(), NOBODY, 1000.0)


def test_a_caller_who_takes_their_time_is_let_where_nobody_checks_in() -> None:
    dead_air = watching(checks_in=False)
    assert not dead_air.due(state(), Ears(caller_at=2.0, agent_at=5.0), 1000.0)


@pytest.mark.parametrize("conversation", [state(agent) for agent in Agent if agent is not Agent.IDLE])
def test_an_agent_that_is_due_is_not_let_though_nobody_checks_in(conversation: Conversation) -> None:
    assert watching(checks_in=False).due(conversation, Ears(caller_at=2.0, agent_at=5.0), 25.0)


def test_a_caller_who_was_not_answered_is_not_let_though_nobody_checks_in() -> None:
    assert watching(checks_in=False).due(state(), Ears(caller_at=5.0, agent_at=2.0), 25.0)


def test_events_of_later_seconds_do_not_hide_it() -> None:
    dead_air = watching()
    assert not dead_air.due(state(), Ears(agent_at=1000.0), 20.0)
    assert dead_air.next_at == 40.0


def test_a_call_that_has_ended_takes_no_notice() -> None:
    assert state(line=Line.CLOSING).step(happens.DeadAir("late")).commands == ()
