"""What a call begins with that another agentd has begun: as its keeper needs it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from agentd.agent import Audio
from agentd.serving.candidates import Candidate


@attrs.frozen(eq=False)
class Resumption:
    """`muster` waits until the agents are there, however long their engines take to load, and gives those that can
    serve the call, in the order in which they are asked; none where none is to be had.

    `back` is said first of all, as far as there are words `beforehand` (sounds by their text, which the agentd before
    has left); else by the session. `owed`: the agent owes an answer, or the rest of one; `repeat` is to be said again.
    """

    muster: Callable[[], Awaitable[Sequence[Candidate]]]
    back: str = ""
    beforehand: Mapping[str, tuple[Audio, ...]] = attrs.field(factory=dict)
    owed: bool = False
    repeat: str = ""
