"""A call as it stands at a moment, for its record. Everything is read, and nothing changed."""

from collections.abc import Sequence

import attrs

from agentd.agent import CallInfo
from agentd.calls.record import CallRecord, Course, Stay, ToolAtWork
from agentd.conversation.machine import AUDIBLE, Agent, Caller, Conversation, Line
from agentd.history import Turn
from agentd.party import Party
from agentd.playback.contract import Heard

OWES = frozenset({Agent.PREPARING, Agent.WITHHOLDING, Agent.SPEAKING_ASIDE, Agent.SPEAKING_OWING})
"""The states in which an answer is to follow."""


@attrs.frozen
class Speech:
    """The utterance that the caller is hearing; `aside`: it is no answer, and `words` are what was to be said."""

    utterance: int
    heard: Heard
    aside: bool
    words: str = ""


@attrs.frozen
class Snapshot:
    """The part that changes."""

    info: CallInfo
    conversation: Conversation
    turns: Sequence[Turn]
    serving: str
    streaming: bool
    speech: Speech | None = None
    at_work: tuple[ToolAtWork, ...] = ()
    playbacks: tuple[str, ...] = ()

    @property
    def lasting(self) -> bool:
        """Whether the call is one to go on with: it has begun, and does not end."""
        return self.conversation.line in (Line.LIVE, Line.LOST)

    def record(self, course: Course, stay: Stay) -> CallRecord:
        """The call's record at this moment."""
        agent, speech = self.conversation.agent, self.speech
        answers = agent in AUDIBLE and speech is not None and not speech.aside
        return CallRecord(
            call_id=self.info.call_id,
            stay=stay,
            agent=course.agent,
            serving=self.serving,
            transport=course.transport,
            streaming=self.streaming,
            rate=self.info.rate,
            caller=Party(self.info.caller_number, self.info.caller_name),
            began=course.began,
            turns=tuple(heard_so_far(self.turns, speech)),
            caller_spoke=self.conversation.caller is not Caller.SILENT,
            agent_spoke=answers,
            answer_due=agent in OWES,
            repeat=speech.words if speech is not None and speech.aside else "",
            at_work=self.at_work,
            playbacks=self.playbacks,
            adoptions=course.adoptions,
            adopted_at=course.adopted_at,
        )


def heard_so_far(turns: Sequence[Turn], speech: Speech | None) -> list[Turn]:
    """The history as it would be if nothing more were heard of what is being said. What nothing was heard of leaves no
    trace."""
    so_far: list[Turn] = []
    for turn in turns:
        if speech is not None and turn.utterance == speech.utterance:
            turn = attrs.evolve(turn, text=speech.heard.text, generated=speech.heard.generated)
        if turn.text or turn.tool is not None:
            so_far.append(turn)
    return so_far
