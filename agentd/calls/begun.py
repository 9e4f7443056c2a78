"""A call that another agentd has begun, as it begins here: out of its record."""

import attrs

from agentd.calls.record import CallRecord
from agentd.conversation.machine import Agent, Conversation, Line
from agentd.history import History, Speaker, ToolUse, Turn
from agentd.serving.resumption import Resumption

NOBODY_KNOWS = "It is not known whether this was done: the telephone system was interrupted while it was at work."
"""What a model is told of a tool whose end nobody saw."""


@attrs.frozen(eq=False)
class Begun:
    """`live_since` is when it came to be live, by the clock of now; `utterances` how many it has had."""

    conversation: Conversation
    history: History
    utterances: int
    live_since: float
    resumption: Resumption


def begin_again(record: CallRecord, resumption: Resumption, lasted: float, now: float) -> Begun:
    """The call of a record, which had `lasted` some seconds at second `now`: its line is lost, and an answer that is
    owed is being prepared."""
    turns = [attrs.evolve(turn) for turn in record.turns]
    turns += [Turn(Speaker.TOOL, "", tool=ToolUse(tool.name, tool.arguments, NOBODY_KNOWS)) for tool in record.at_work]
    return Begun(
        Conversation(line=Line.LOST, agent=Agent.PREPARING if record.owed else Agent.IDLE),
        History(turns),
        max((turn.utterance for turn in turns), default=0),
        now - max(lasted, 0.0),
        resumption,
    )
