"""The agents that can serve one call, in the order in which they are asked. Pure."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from agentd.agent import Agent, Audio
from agentd.serving.breaker import CircuitBreaker
from agentd.tools.offered import OfferedTool


@attrs.frozen(eq=False)
class Candidate:
    """An agent that can serve the call. `spoken` are fixed words by their text, in its voice."""

    name: str
    agent: Agent
    breaker: CircuitBreaker = attrs.field(factory=CircuitBreaker)
    tools: Mapping[str, OfferedTool] = attrs.field(factory=dict)
    spoken: Mapping[str, tuple[Audio, ...]] = attrs.field(factory=dict)


def promising(candidates: Sequence[Candidate], now: float) -> Iterator[Candidate]:
    """Those that are worth asking at second `now`, in their order; then the others, since silence is worse.

    A candidate that is taken from here must be asked: it may be the one trial of its circuit breaker.
    """
    doubtful = []
    for candidate in candidates:
        if candidate.agent.readiness.ready and candidate.breaker.allows(now):
            yield candidate
        else:
            doubtful.append(candidate)
    yield from doubtful
