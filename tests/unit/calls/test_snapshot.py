"""What of a call as it stands is in its record; and the call that begins again from it."""

import pytest

from agentd.agent import CallInfo
from agentd.calls.begun import NOBODY_KNOWS, begin_again
from agentd.calls.record import CallRecord, Course, Stay, ToolAtWork
from agentd.calls.snapshot import OWES, Snapshot, Speech
from agentd.conversation.machine import AUDIBLE, Agent, Caller, Conversation, Line
from agentd.history import Speaker, ToolUse, Turn
from agentd.playback.contract import Heard
from agentd.serving.candidates import Candidate
from agentd.serving.resumption import Resumption

SAID = Turn(Speaker.CALLER, "When do you open?")
ANSWER = Turn(Speaker.AGENT, "", "", 4)
HEARD = Heard(900, False, "We open", "We open at nine.")


def record(
    conversation: Conversation, *turns: Turn, speech: Speech | None = None, at_work: tuple[ToolAtWork, ...] = ()
) -> CallRecord:
    snapshot = Snapshot(CallInfo("1.2", "100", "Alice"), conversation, turns, "front", True, speech, at_work)
    return snapshot.record(Course("front", "external", 5.0), Stay("1.3"))


@pytest.mark.parametrize("line", Line)
def test_a_call_that_has_begun_and_does_not_end_is_one_to_go_on_with(line: Line) -> None:
    snapshot = Snapshot(CallInfo("1.2"), Conversation(line=line), (), "front", True)
    assert snapshot.lasting is (line in (Line.LIVE, Line.LOST))


@pytest.mark.parametrize("agent", Agent)
def test_who_was_speaking_and_what_is_owed(agent: Agent) -> None:
    answer = Speech(4, HEARD, aside=False)
    found = record(Conversation(Line.LIVE, Caller.SPEAKING, agent), SAID, ANSWER, speech=answer)
    assert found.caller_spoke
    assert found.agent_spoke is (agent in AUDIBLE)
    assert found.answer_due is (agent in OWES)


def test_of_an_answer_that_is_being_heard_what_was_heard_is_in_the_history() -> None:
    live = Conversation(Line.LIVE, agent=Agent.SPEAKING)
    found = record(live, SAID, ANSWER, speech=Speech(4, HEARD, aside=False))
    assert found.turns == (SAID, Turn(Speaker.AGENT, "We open", "We open at nine.", 4))
    assert (ANSWER.text, ANSWER.generated) == ("", ""), "the call's own history is as it was"


def test_an_answer_of_which_nothing_was_heard_leaves_no_trace() -> None:
    live = Conversation(Line.LIVE, agent=Agent.SPEAKING)
    nothing = Heard(0, False, "", "We open at nine.")
    assert record(live, SAID, ANSWER, speech=Speech(4, nothing, aside=False)).turns == (SAID,)
    assert record(live, SAID, ANSWER).turns == (SAID,)


def test_words_that_are_no_answer_are_to_be_said_again() -> None:
    live = Conversation(Line.LIVE, agent=Agent.SPEAKING)
    found = record(live, speech=Speech(1, HEARD, aside=True, words="Hello, how can I help you?"))
    assert found.repeat == "Hello, how can I help you?"
    assert not found.agent_spoke
    assert not found.owed


async def nobody() -> list[Candidate]:
    raise NotImplementedError


def test_a_call_begins_again_with_its_line_lost_its_history_and_its_age() -> None:
    live = Conversation(Line.LIVE, agent=Agent.SPEAKING)
    found = record(live, SAID, ANSWER, speech=Speech(4, HEARD, aside=False))
    begun = begin_again(found, Resumption(nobody), lasted=300.0, now=1000.0)
    assert begun.conversation == Conversation(Line.LOST, agent=Agent.PREPARING)
    assert begun.history.turns == list(found.turns)
    assert begun.utterances == 4, "no number is given twice"
    assert begun.live_since == 700.0
    begun.history.caller_said("Hello?")
    assert found.turns[0].text == "When do you open?"


def test_a_clock_that_was_set_back_makes_no_call_younger_than_it_is() -> None:
    assert begin_again(record(Conversation(Line.LIVE)), Resumption(nobody), -50.0, 1000.0).live_since == 1000.0


def test_of_a_tool_that_was_at_work_nobody_knows_what_it_did() -> None:
    found = record(Conversation(Line.LIVE, agent=Agent.PREPARING), SAID, at_work=(ToolAtWork("book", '{"for": 2}'),))
    begun = begin_again(found, Resumption(nobody), 0.0, 0.0)
    assert begun.history.turns[-1].tool == ToolUse("book", '{"for": 2}', NOBODY_KNOWS)
    assert begun.conversation.agent is Agent.PREPARING
