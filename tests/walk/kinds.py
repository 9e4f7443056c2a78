"""The kinds of call that are walked: twenty-four, which cover all pairs of what can be chosen. Pure."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import combinations, product

import attrs

from tests.walk.faults import AUDIOSOCKET, WEBSOCKET_CLIENT


class Way(StrEnum):
    """How the call's audio comes."""

    EXTERNAL = "external"
    FORK = "fork"
    HEADLESS = "headless"
    RTP = "rtp"
    WEBSOCKET = "websocket"


class Voice(StrEnum):
    """How the agent's voice goes back."""

    STREAM = "stream"
    FILE = "file"


class Agent(StrEnum):
    """Who serves the caller."""

    PIPELINE = "pipeline"
    FULL = "full"


class Happening(StrEnum):
    """The course of the call."""

    TOOL = "tool"
    TRANSFER = "transfer"
    FAILOVER = "failover"
    REPLACE = "replace"
    """An attended transfer in mid-call: another channel takes the place of the caller's."""
    NONE = "none"


DIMENSIONS: tuple[tuple[StrEnum, ...], ...] = (tuple(Way), tuple(Voice), tuple(Agent), tuple(Happening))
IMPOSSIBLE = {
    frozenset({Way.HEADLESS, Voice.FILE}): "files are played by ARI",
    frozenset({Way.HEADLESS, Happening.TRANSFER}): "a transfer is made by ARI",
    frozenset({Way.HEADLESS, Happening.REPLACE}): "a channel that is in no application takes no place in one",
}
"""Pairs that there are not, with why."""


@attrs.frozen
class Kind:
    """A kind of call."""

    way: Way
    voice: Voice
    agent: Agent
    happening: Happening

    def __str__(self) -> str:
        return "-".join(attrs.astuple(self))

    @property
    def asterisk_connects(self) -> bool:
        """It is Asterisk that opens its media WebSockets. Only how a leg comes about differs: two kinds are enough."""
        return self.way is Way.WEBSOCKET and self.happening in (Happening.TRANSFER, Happening.REPLACE)

    @property
    def carriage(self) -> str:
        """What carries its audio: a name of tests.walk.faults.OF_LEGS."""
        if self.asterisk_connects:
            return WEBSOCKET_CLIENT
        return AUDIOSOCKET if self.way in (Way.EXTERNAL, Way.FORK, Way.HEADLESS) else str(self.way)

    @property
    def agent_ends_it(self) -> bool:
        """The agent hands the caller over; where it does not, the caller hangs up once they are answered."""
        return self.happening in (Happening.TOOL, Happening.TRANSFER)

    @property
    def pairs(self) -> set[frozenset[StrEnum]]:
        """The pairs that it covers."""
        return {frozenset(pair) for pair in combinations(attrs.astuple(self), 2)}


KINDS = (
    Kind(Way.EXTERNAL, Voice.STREAM, Agent.PIPELINE, Happening.TOOL),
    Kind(Way.EXTERNAL, Voice.FILE, Agent.FULL, Happening.TRANSFER),
    Kind(Way.EXTERNAL, Voice.STREAM, Agent.FULL, Happening.FAILOVER),
    Kind(Way.EXTERNAL, Voice.FILE, Agent.PIPELINE, Happening.NONE),
    Kind(Way.FORK, Voice.FILE, Agent.FULL, Happening.TOOL),
    Kind(Way.FORK, Voice.STREAM, Agent.PIPELINE, Happening.TRANSFER),
    Kind(Way.FORK, Voice.FILE, Agent.PIPELINE, Happening.FAILOVER),
    Kind(Way.FORK, Voice.STREAM, Agent.FULL, Happening.NONE),
    Kind(Way.HEADLESS, Voice.STREAM, Agent.PIPELINE, Happening.TOOL),
    Kind(Way.HEADLESS, Voice.STREAM, Agent.FULL, Happening.FAILOVER),
    Kind(Way.HEADLESS, Voice.STREAM, Agent.FULL, Happening.NONE),
    Kind(Way.FORK, Voice.STREAM, Agent.PIPELINE, Happening.TOOL),
    Kind(Way.EXTERNAL, Voice.STREAM, Agent.FULL, Happening.REPLACE),
    Kind(Way.FORK, Voice.FILE, Agent.PIPELINE, Happening.REPLACE),
    Kind(Way.RTP, Voice.STREAM, Agent.PIPELINE, Happening.TOOL),
    Kind(Way.RTP, Voice.FILE, Agent.FULL, Happening.TRANSFER),
    Kind(Way.RTP, Voice.FILE, Agent.PIPELINE, Happening.FAILOVER),
    Kind(Way.RTP, Voice.STREAM, Agent.FULL, Happening.REPLACE),
    Kind(Way.RTP, Voice.STREAM, Agent.FULL, Happening.NONE),
    Kind(Way.WEBSOCKET, Voice.STREAM, Agent.PIPELINE, Happening.TOOL),
    Kind(Way.WEBSOCKET, Voice.FILE, Agent.FULL, Happening.TRANSFER),
    Kind(Way.WEBSOCKET, Voice.FILE, Agent.PIPELINE, Happening.FAILOVER),
    Kind(Way.WEBSOCKET, Voice.STREAM, Agent.FULL, Happening.REPLACE),
    Kind(Way.WEBSOCKET, Voice.STREAM, Agent.FULL, Happening.NONE),
)
BY_NAME = {str(kind): kind for kind in KINDS}


def all_pairs() -> Iterator[frozenset[StrEnum]]:
    """Every pair of choices that there can be."""
    for first, second in combinations(DIMENSIONS, 2):
        for pair in product(first, second):
            if frozenset(pair) not in IMPOSSIBLE:
                yield frozenset(pair)
