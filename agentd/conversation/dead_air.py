"""Dead air: a call in which neither side is heard any more, whatever the cause. Pure: told the time, no clock.

Check-ins (agentd.conversation.liveness) go by what a session tells of the caller, and count on an agent that speaks.
Where just that is broken (a session that hangs, a playback that is stuck, a leg that carries nothing) the conversation
stands still, in whatever state it is, and nothing is told any more. What is left are the ears: agentd's own on the
caller's line, and what the caller was really given to hear.
"""

import math

import attrs

from agentd.conversation import events as happens
from agentd.conversation.machine import Agent, Caller, Conversation, Line


@attrs.frozen
class Ears:
    """When either side was last heard, in seconds; -math.inf: never. `excused`: the caller holds, or a tool is at work,
    which may take its time."""

    caller_at: float = -math.inf
    agent_at: float = -math.inf
    excused: bool = False


@attrs.define
class DeadAir:
    """One call's. `after` seconds of it are too much; 0 switches it off. `checks_in` is whether a quiet caller is
    spoken to before that."""

    after: float
    checks_in: bool
    _quiet_since: float = attrs.field(default=math.inf, init=False)
    """No silence began before; math.inf: the call is not on, or is given up."""
    _over: bool = attrs.field(default=False, init=False)

    @property
    def next_at(self) -> float:
        """When it is to be looked for next; math.inf: never."""
        return self._quiet_since + self.after

    def due(self, conversation: Conversation, ears: Ears, now: float) -> list[happens.DeadAir]:
        """Whether it is due at second `now`: told once."""
        if not self.after or self._over or conversation.line not in (Line.LIVE, Line.LOST):
            self._quiet_since = math.inf
            return []
        if self._quiet_since == math.inf or ears.excused or self._is_the_callers_pause(conversation, ears):
            self._quiet_since = now
        self._quiet_since = max(self._quiet_since, min(ears.caller_at, now), min(ears.agent_at, now))
        if now < self.next_at:
            return []
        self._over, self._quiet_since = True, math.inf
        where = f"the line is {conversation.line}, the caller {conversation.caller}, the agent {conversation.agent}"
        return [happens.DeadAir(f"neither side was heard for {self.after:g} s: {where}")]

    def _is_the_callers_pause(self, conversation: Conversation, ears: Ears) -> bool:
        """The agent has spoken, and the caller takes as long as the operator lets them."""
        waits = conversation.line is Line.LIVE and conversation.agent is Agent.IDLE
        return waits and conversation.caller is Caller.SILENT and not self.checks_in and ears.agent_at >= ears.caller_at
