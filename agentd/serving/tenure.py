"""One session's time in a call, from its opening to its end, in a task of its own."""

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import attrs
import structlog
import trio

from agentd.agent import AgentSession, CallInfo
from agentd.errors import Failure, ProviderError, ProviderUnavailable, first_of
from agentd.serving.candidates import Candidate
from agentd.serving.contained import ContainedSession
from agentd.serving.muteness import Muteness

log = structlog.get_logger("agentd.call")

LOOK_EVERY = 0.1
"""Seconds between two looks at a session that nobody tells about."""


@attrs.frozen
class Begun:
    """An utterance that is not complete; an `aside` is no answer."""

    aside: bool
    generation: int


@attrs.define(eq=False)
class Tenure:
    """One session, from its opening to its end."""

    candidate: Candidate
    info: CallInfo
    """What the session was opened with."""
    session: AgentSession
    muteness: Muteness
    scope: trio.CancelScope
    begun: dict[int, Begun] = attrs.field(factory=dict)
    """Utterances whose end the session has not told, by number."""
    fruitful: bool = False
    """It has given an answer to its end."""
    owes: bool = False
    """It is to resume what another session left open, and has said nothing to it yet."""
    resumed: bool = False
    """It has been asked to."""
    onset: float | None = None
    """When the caller's last turn began."""
    words_before: int = 0
    """How much was known by then of what the caller said, in characters."""
    failure: ProviderError | None = None
    closed: trio.Event = attrs.field(factory=trio.Event)
    lasts: float = math.inf
    """Seconds within which it must end, from when `renewal_due` was set."""
    renewal_due: trio.Event = attrs.field(factory=trio.Event)
    renewal: "Tenure | None" = None
    """The session that is to go on in its place."""

    def unfinished(self, generation: int) -> dict[int, Begun]:
        """The utterances that more is to come of: one of an older generation was interrupted."""
        return {number: begun for number, begun in self.begun.items() if begun.generation == generation}


async def hold(  # noqa: ASYNC128 - passes task_status on
    candidate: Candidate,
    info: CallInfo,
    within: float,
    mute_after: float,
    open_session: Callable[[Candidate, CallInfo], AbstractAsyncContextManager[AgentSession]],
    *,
    task_status: trio.TaskStatus[Tenure],
) -> None:
    """Open a session and have it open until its tenure's scope is cancelled, or until it fails by itself.

    Raises ProviderError when it does not open within `within` seconds; what comes later is the tenure's `failure`.
    """
    structlog.contextvars.bind_contextvars(agent=candidate.name)  # whoever serves the call meanwhile, or later
    tenure: Tenure | None = None
    failure: ProviderError | None = None

    def raised(what: str, error: Failure) -> None:
        """The session raised where it was asked something: that is its end."""
        nonlocal failure
        if isinstance(error, ProviderError):
            failure = error
        else:
            log.error("the agent's session failed inside its provider", agent=candidate.name, what=what, exc_info=error)
            failure = ProviderUnavailable(f"a defect of the provider, in {what}: {type(error).__name__}")
        scope.cancel()
        if tenure is not None:
            tenure.failure = failure

    try:
        with trio.CancelScope() as scope, trio.fail_after(within) as opening:
            async with open_session(candidate, info) as session:
                opening.deadline = math.inf
                contained = ContainedSession(session, raised)
                able = contained.capabilities
                muteness = Muteness(mute_after, able.takes_turns, able.answers_probes, able.longest_pause)
                tenure = Tenure(candidate, info, contained, muteness, scope)
                task_status.started(tenure)
                await trio.sleep_forever()
    except* ProviderError as group:
        failure = failure or first_of(group)
    except* trio.TooSlowError:
        failure = failure or ProviderUnavailable(f"{candidate.name} opened no session within {within:g} s")
    except* (Exception, SystemExit) as group:
        # The outermost frame of a provider's code, which may be anybody's: its defect must not end the call.
        log.exception("the agent's session failed inside its provider", agent=candidate.name)
        failure = failure or ProviderUnavailable(f"a defect of the provider: {type(first_of(group)).__name__}")
    finally:
        if tenure is not None:
            tenure.failure = failure
            tenure.closed.set()
    if tenure is None and failure is not None:
        raise failure
