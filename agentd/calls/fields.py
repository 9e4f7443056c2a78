"""The fields that every log line of a call has: call id, channel, agent and state.

A call's tasks inherit the context of its outermost frame, each as a copy of its own; so what changes in the course of
the call is kept in one place, which the copies share. A task that is about another agent than the one that serves
(a session that is being opened, or put away) binds that agent's name for itself: structlog.contextvars.
"""

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

_fields: ContextVar[dict[str, str] | None] = ContextVar("agentd_call_fields", default=None)


def begin_call_fields(**fields: str) -> None:
    """From now on this task's lines, and those of the tasks that it starts, tell these fields, and no others that were
    bound before."""
    structlog.contextvars.clear_contextvars()
    _fields.set(fields)


def set_call_fields(**fields: str) -> None:
    """Set fields for all of the call's tasks; outside of a call, of this task and those that it starts."""
    if (known := _fields.get()) is None:
        _fields.set(fields)
    else:
        known.update(fields)


def merge_call_fields(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog's: adds the call's fields to a line. The line's own fields stand."""
    return {**(_fields.get() or {}), **event}
