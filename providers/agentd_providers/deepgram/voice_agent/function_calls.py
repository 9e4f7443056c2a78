"""The functions that the Deepgram Voice Agent's model calls, as tools. Pure.

Deepgram lets the model call functions before the caller's turn is confirmed, where it may turn out that the caller goes
on. Such calls wait here until the turn is, and are forgotten if Deepgram takes them back.
(https://developers.deepgram.com/docs/voice-agent-speculative-replies, /docs/voice-agent-function-call-cancelled)

Each function that is called is early (nobody was asked for it yet), awaited, or taken back (what it gives is recorded,
and not told to Deepgram).
"""

from collections.abc import Callable

import attrs

from agentd import session_events as tells
from agentd.history import ToolUse
from agentd_providers.deepgram.voice_agent.events import FunctionCall
from agentd_providers.deepgram.voice_agent.messages import function_call_response
from agentd_providers.vendor import commands as do

MOST_OPEN = 64


@attrs.define(eq=False)
class FunctionCalls:
    """One session's. `command` takes what is to be done."""

    command: Callable[[do.Command], None]
    _early: list[FunctionCall] = attrs.field(factory=list, init=False)
    _awaited: dict[str, FunctionCall] = attrs.field(factory=dict, init=False)
    _taken_back: dict[str, FunctionCall] = attrs.field(factory=dict, init=False)

    @property
    def open(self) -> bool:
        """Whether a result is awaited."""
        return bool(self._awaited)

    def request(self, function: FunctionCall, *, confirmed: bool) -> None:
        """The model calls a function; `confirmed`: for a turn that is over, and nothing has to be told before it."""
        if not function.client_side:
            return  # Deepgram's own to call
        if len(self._early) + len(self._awaited) + len(self._taken_back) >= MOST_OPEN:
            left_out = f"more than {MOST_OPEN} tools are asked for at once: {function.name} is left out"
            self.command(do.Tell(tells.Degraded(left_out)))
        elif confirmed:
            self._taken_back.pop(function.call, None)
            self._awaited[function.call] = function
            self.command(do.Tell(tells.ToolRequested(function.name, function.arguments, function.call)))
        else:
            self._early.append(function)

    def confirm(self) -> None:
        """The caller's turn is over, or what was to be told before is: what was called for counts."""
        early, self._early = self._early, []
        for function in early:
            self.request(function, confirmed=True)

    def dismiss(self) -> None:
        """There was no turn, or it goes on: Deepgram drops what it prepared, and older servers do not tell."""
        self._early.clear()

    def cancel(self, calls: tuple[str, ...]) -> None:
        """Deepgram takes requests back. The result of a tool that is at work already is recorded all the same."""
        self._early = [function for function in self._early if function.call not in calls]
        for call in calls:
            if function := self._awaited.pop(call, None):
                self._taken_back[call] = function

    def result(self, call: str, result: str) -> bool:
        """Record what a tool gave. Gives whether Deepgram awaits it, and is told."""
        awaited = self._awaited.pop(call, None)
        function = awaited or self._taken_back.pop(call, None)
        if function is None:
            self.command(do.Warn("a tool gave a result that nobody asked for", {"tool_call": call}))
            return False
        self.command(do.RecordTool(ToolUse(function.name, function.arguments, result, function.sealed)))
        if awaited is not None:
            self.command(do.Send(function_call_response(call, function.name, result)))
        return awaited is not None
