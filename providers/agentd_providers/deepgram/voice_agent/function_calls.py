"""The functions that the Deepgram Voice Agent's model calls, as tools.

Deepgram lets the model call functions before the caller's turn is confirmed, where it may turn out that the caller goes
on. Such calls wait here until the turn is, and are forgotten if Deepgram takes them back.
(https://developers.deepgram.com/docs/voice-agent-speculative-replies, /docs/voice-agent-function-call-cancelled)
"""

from collections.abc import Callable

import attrs
import structlog

from agentd import session_events as tells
from agentd.history import History, ToolUse
from agentd.session_events import SessionEvent
from agentd_providers.deepgram.voice_agent.events import FunctionCall

log = structlog.get_logger("agentd_providers.deepgram")

MOST_OPEN = 64


@attrs.define(eq=False)
class _Open:
    name: str
    arguments: str
    cancelled: bool = False


@attrs.define(eq=False)
class FunctionCalls:
    """One session's."""

    history: History
    emit: Callable[[SessionEvent], None]
    _open: dict[str, _Open] = attrs.field(factory=dict, init=False)
    _early: list[FunctionCall] = attrs.field(factory=list, init=False)

    @property
    def open(self) -> bool:
        """Whether a result is awaited."""
        return any(not call.cancelled for call in self._open.values())

    def request(self, function: FunctionCall, *, confirmed: bool) -> None:
        """The model calls a function; `confirmed`: for a turn that is over, and nothing has to be told before it."""
        if not function.client_side:
            return  # Deepgram's own to call
        if len(self._open) + len(self._early) >= MOST_OPEN:
            self.emit(tells.Degraded(f"more than {MOST_OPEN} tools are asked for at once: {function.name} is left out"))
        elif confirmed:
            self._open[function.call] = _Open(function.name, function.arguments)
            self.emit(tells.ToolRequested(function.name, function.arguments, function.call))
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
        """Deepgram takes requests back. What a tool that is at work already gives is recorded all the same."""
        self._early = [function for function in self._early if function.call not in calls]
        for call in calls:
            if call in self._open:
                self._open[call].cancelled = True

    def result(self, call: str, result: str) -> str:
        """Record what a tool gave. Gives the name of the function that Deepgram awaits this of; empty: of none."""
        request = self._open.pop(call, None)
        if request is None:
            log.warning("a tool gave a result that nobody asked for", tool_call=call)
            return ""
        self.history.tool_used(ToolUse(request.name, request.arguments, result))
        return "" if request.cancelled else request.name
