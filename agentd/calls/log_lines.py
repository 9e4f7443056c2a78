"""How many lines a call may log. Its peers must not fill the disk: what is over the budget is counted and told."""

from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

import attrs
import structlog

from agentd.budgets import LOG_LINES, Allowance

_lines: ContextVar["CallLines | None"] = ContextVar("agentd_call_lines", default=None)


@attrs.define(eq=False)
class CallLines:
    """The lines of one call, whichever of its tasks writes them. `exceeded` is called for each that is left out."""

    exceeded: Callable[[], None]
    _allowance: Allowance = attrs.field(factory=lambda: Allowance(LOG_LINES), init=False)
    _ended: bool = attrs.field(default=False, init=False)

    def end(self) -> int:
        """What is logged from now on tells of the call's end, and is not left out; gives how many lines were."""
        self._ended = True
        return self._allowance.refused

    def admit(self) -> bool:
        """Whether one more line may be logged."""
        if self._ended or self._allowance.take():
            return True
        self.exceeded()
        return False

    @property
    def was_last(self) -> bool:
        """Whether the line that was just let in is the last one before the end."""
        return not self._ended and self._allowance.used == LOG_LINES.most


def begin_call_lines(exceeded: Callable[[], None]) -> CallLines:
    """From now on the lines of this task, and of those that it starts, are a call's."""
    lines = CallLines(exceeded)
    _lines.set(lines)
    return lines


def within_budget(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog's: raises DropEvent for a line that is over its call's budget. The last one that is not
    says so."""
    lines = _lines.get()
    if lines is None:
        return event
    if not lines.admit():
        raise structlog.DropEvent
    return {**event, "log_budget": "spent: what follows is counted only"} if lines.was_last else event
