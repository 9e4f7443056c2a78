"""Whether a caller gets in, whichever way they came. Pure."""

import attrs

from agentd.conversation.commands import Result


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


def refusal(arrival: Arrival) -> Refusal | None:
    """Why this caller does not get in; None where they do. Of several reasons, the one that concerns all callers."""
    if arrival.draining:
        return Refusal(Result.REFUSED_DRAINING, "agentd is being stopped")
    if arrival.others >= arrival.max_calls:
        return Refusal(Result.REFUSED_BUSY, f"{arrival.others} calls already")
    if not arrival.known:
        return Refusal(Result.REFUSED_AGENT, f"no agent is called {arrival.agent!r}")
    if not arrival.ready:
        return Refusal(Result.REFUSED_AGENT, f"agent {arrival.agent!r} is not ready: {arrival.trouble}")
    return None
