"""Whether an agentd that was started again goes on with a caller whom the one before has left. Pure."""

from collections.abc import Container
from enum import StrEnum

import attrs

from agentd.calls.record import CallRecord, Course

MOST_ADOPTIONS = 3
"""Times that a call is gone on with after one another: a call that ends the daemon does not end it for ever."""
CALM_SECONDS = 60.0
"""Seconds that a call lasts with one agentd, after which its adoptions are counted anew."""


class Cause(StrEnum):
    """Why a caller is handed back instead, for metrics."""

    NO_RECORD = "no_record"
    UNREADABLE = "unreadable"
    ANOTHER_CHANNEL = "another_channel"
    AGENT = "agent"
    TRANSPORT = "transport"
    TOO_OFTEN = "too_often"


def refused(
    record: CallRecord, channel: str, agents: Container[str], transports: Container[str]
) -> tuple[Cause, str] | None:
    """Why the call of a record, found for this channel, is not gone on with; None where it is. `agents` and
    `transports` are those that there are now."""
    if record.stay.channel != channel:
        return Cause.ANOTHER_CHANNEL, "the record is of another caller"
    if record.agent not in agents:
        return Cause.AGENT, f"no agent is called {record.agent!r} any more"
    if record.transport not in transports:
        return Cause.TRANSPORT, f"there is no transport {record.transport!r}"
    if record.adoptions >= MOST_ADOPTIONS:
        return Cause.TOO_OFTEN, f"agentd has ended {MOST_ADOPTIONS} times soon after it went on with this call"
    return None


def calmed(course: Course, now: float) -> Course:
    """The course of a call that lasts with this agentd at second `now` (since 1970)."""
    calm = course.adoptions and not 0.0 <= now - course.adopted_at < CALM_SECONDS
    return attrs.evolve(course, adoptions=0) if calm else course
