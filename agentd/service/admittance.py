"""Whether a caller gets in, whichever way they came. Pure."""

from enum import StrEnum

import attrs

from agentd.conversation.commands import Result


class Cause(StrEnum):
    """Why a caller was not let in, for metrics. The last three are agentd.service.pressure's."""

    DRAINING = "draining"
    MAX_CALLS = "max_calls"
    AGENT = "agent"
    ARGUMENTS = "arguments"
    QUEUE = "queue"
    ASTERISK = "asterisk"
    LINES = "lines"


@attrs.frozen
class Arrival:
    """How things stand for a caller who asks for the agent `agent`.

    `others` counts the calls that are being served, this one not among them; `draining`: agentd takes no calls any
    more. `known`: there is such an agent; `ready`: it, or one of its fallbacks, can serve now; `trouble` is what the
    agent itself says when it cannot.
    """

    agent: str
    known: bool
    ready: bool
    trouble: str
    others: int
    max_calls: int
    draining: bool


@attrs.frozen
class Refusal:
    """Why a caller does not get in: for the dialplan, and for operators."""

    result: Result
    detail: str
    cause: Cause


def refusal(arrival: Arrival) -> Refusal | None:
    """Why this caller does not get in; None where they do. Of several reasons, the one that concerns all callers."""
    if arrival.draining:
        return Refusal(Result.REFUSED_DRAINING, "agentd is being stopped", Cause.DRAINING)
    if arrival.others >= arrival.max_calls:
        return Refusal(Result.REFUSED_BUSY, f"{arrival.others} calls already", Cause.MAX_CALLS)
    if not arrival.known:
        return Refusal(Result.REFUSED_AGENT, f"no agent is called {arrival.agent!r}", Cause.AGENT)
    if not arrival.ready:
        detail = f"agent {arrival.agent!r} is not ready: {arrival.trouble}"
        return Refusal(Result.REFUSED_AGENT, detail, Cause.AGENT)
    return None
