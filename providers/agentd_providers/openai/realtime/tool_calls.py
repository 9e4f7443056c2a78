"""The tools that a Realtime session's model has asked for, and of whose results it is to speak. Pure.

How function calls go: https://platform.openai.com/docs/guides/realtime-conversations#function-calling. Each tool that
is at work is in one state at a time: awaited (the model goes on with its result); halted (the caller's turn, which is
not over, has stopped the answer: if that was no turn, the result is awaited again); or abandoned (the result is kept
for the model, which is not asked to speak because of it).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

import attrs

from agentd import session_events as tells
from agentd.history import ToolUse
from agentd_providers.openai.realtime import messages
from agentd_providers.openai.realtime.events import MOST_CALLS, VENDOR, FunctionCall
from agentd_providers.vendor import commands as do

MOST_AT_WORK = 4 * MOST_CALLS


class State(StrEnum):
    AWAITED = "awaited"
    HALTED = "halted"
    ABANDONED = "abandoned"


class Happening(StrEnum):
    STOPPED_BY_TURN = "the call interrupts for a caller who speaks"
    STOPPED = "the call interrupts though nobody speaks"
    TURN_CONFIRMED = "the caller's turn is over"
    DISMISSED = "what was taken for a turn was none"


TOOL: Mapping[tuple[State, Happening], State] = {
    (State.AWAITED, Happening.STOPPED_BY_TURN): State.HALTED,
    (State.AWAITED, Happening.STOPPED): State.ABANDONED,
    (State.HALTED, Happening.TURN_CONFIRMED): State.ABANDONED,
    (State.HALTED, Happening.DISMISSED): State.AWAITED,
}


@attrs.define(eq=False)
class _Call:
    """A tool that is at work; `together` are all that the same response asked for."""

    function: FunctionCall
    together: frozenset[str]
    state: State = State.AWAITED


@attrs.define(eq=False)
class ToolCalls:
    """One session's. `command` takes what is to be done."""

    command: Callable[[do.Command], None]
    _at_work: dict[str, _Call] = attrs.field(factory=dict, init=False)
    _passed_over: bool = attrs.field(default=False, init=False)
    """A result came while it was halted."""

    @property
    def awaited(self) -> bool:
        """Whether an answer waits for a tool."""
        return any(call.state is State.AWAITED for call in self._at_work.values())

    def request(self, functions: tuple[FunctionCall, ...]) -> None:
        """A response asks for tools, whose results belong together."""
        together = frozenset(function.call for function in functions)
        for function in functions:
            self._at_work[function.call] = _Call(function, together)
            self.command(do.Tell(tells.ToolRequested(function.name, function.arguments, function.call)))
        if len(self._at_work) > MOST_AT_WORK:
            self.command(do.End(f"{VENDOR}: {len(self._at_work)} tools at work at once"))

    def result(self, call: str, result: str) -> bool:
        """A tool has given its result. Gives whether the model is to go on: once it has those of all the tools that it
        asked for together."""
        if (known := self._at_work.pop(call, None)) is None:
            self.command(do.Warn("a result of a tool that nobody waits for", {"call": call}))
            return False
        self.command(do.RecordTool(ToolUse(known.function.name, known.function.arguments, result)))
        self.command(do.Send(messages.result_item(call, result)))
        self._passed_over = self._passed_over or known.state is State.HALTED
        return known.state is State.AWAITED and not known.together & self._at_work.keys()

    def happens(self, what: Happening) -> None:
        """Take one happening."""
        for call in self._at_work.values():
            call.state = TOOL.get((call.state, what), call.state)
        if what is Happening.TURN_CONFIRMED:
            self._passed_over = False

    def dismissed(self) -> bool:
        """The sound that stopped the answer was no turn. Gives whether a result was passed over meanwhile."""
        passed_over, self._passed_over = self._passed_over, False
        self.happens(Happening.DISMISSED)
        return passed_over
