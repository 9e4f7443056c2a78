"""The tools that a model has asked for, until what they gave has come."""

from collections.abc import Callable, Sequence
from itertools import count

import attrs
import structlog
import trio

from agentd import deadlines
from agentd.history import History, ToolUse
from agentd.session_events import SessionEvent, ToolRequested
from agentd_providers.pipeline.stages import Message, Role, ToolCall

log = structlog.get_logger("agentd_providers.pipeline")

DEADLINE = deadlines.TOOL_RESULTS.seconds
MOST_OPEN = 32
"""Requests whose results are still to come; the oldest is forgotten for one more."""
_numbers = count(1)
"""Of requests: a model's own names of them come again, and another session may get what was asked for by this one. With
"tool" before them they have nine letters and digits, as Mistral wants them."""
NO_RESULT = "error: the tool gave no result in time"


@attrs.define(eq=False)
class _Request:
    call: ToolCall
    result: str = NO_RESULT
    came: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class ToolRequests:
    """One session's. A tool's result is in the history, whether or not anybody still waits for it."""

    history: History
    emit: Callable[[SessionEvent], None]
    _open: dict[str, _Request] = attrs.field(factory=dict, init=False)

    async def use(self, words: str, calls: Sequence[ToolCall]) -> list[Message]:
        """Have tools used, all at once; gives what the model is told of it: its own `words` and requests, and what
        the tools gave. Cancelling gives up waiting only.
        """
        requests = [self._ask(call) for call in calls]
        with trio.move_on_after(DEADLINE):
            for request in requests:
                await request.came.wait()
        for request in requests:
            if not request.came.is_set():
                self.result(request.call.call, NO_RESULT)
        asked = Message(Role.ASSISTANT, words, calls=tuple(request.call for request in requests))
        return [asked, *(Message(Role.TOOL, request.result, call=request.call.call) for request in requests)]

    def result(self, call: str, result: str) -> None:
        """The result of the tool of `ToolRequested(call=...)`."""
        request = self._open.pop(call, None)
        if request is None:
            log.warning("a tool gave a result that nobody asked for", tool_call=call)
            return
        request.result = result
        self.history.tool_used(ToolUse(request.call.name, request.call.arguments, result, request.call.sealed))
        request.came.set()

    def _ask(self, call: ToolCall) -> _Request:
        request = _Request(attrs.evolve(call, call=f"tool{next(_numbers) % 100_000:05d}"))
        while len(self._open) >= MOST_OPEN:
            forgotten = self._open.pop(next(iter(self._open)))
            log.error("a tool's result is awaited no more: too many are to come", tool=forgotten.call.name)
        self._open[request.call.call] = request
        self.emit(ToolRequested(call.name, call.arguments, request.call.call))
        return request
