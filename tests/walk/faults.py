"""What goes wrong in a life: one fault, at one place. Pure."""

import re
from collections.abc import Callable, Iterator
from enum import StrEnum

import attrs


class Where(StrEnum):
    """What the number of a fault counts, from the caller's arrival on."""

    REQUEST = "request"
    """Requests to Asterisk's HTTP interface."""
    EVENT = "event"
    """Events of Asterisk's."""
    HTTP = "http"
    """The request from which on Asterisk's HTTP interface hangs."""
    EVENTS = "events"
    """The event from which on Asterisk's event stream hangs."""
    AUDIOSOCKET = "audiosocket"
    """How far the connection with the caller's audio comes: see MEDIA_STAGES."""
    LISTEN = "listen"
    """What is asked of a pipeline's stage."""
    THINK = "think"
    SPEAK = "speak"
    AGENT = "agent"
    """What is asked of an agent of one piece."""
    STEP = "step"
    """Steps of the call's tasks."""


class How(StrEnum):
    """What becomes of it."""

    DROPPED = "dropped"
    """The connection is closed, nothing is done."""
    R403 = "403"
    R404 = "404"
    R409 = "409"
    R500 = "500"
    R503 = "503"
    LATE = "late"
    """It is done and answered after the deadline."""
    UNANSWERED = "unanswered"
    """It is done, and the connection is closed in place of an answer."""
    LOST = "lost"
    DOUBLED = "doubled"
    SWAPPED = "swapped"
    """It comes after the next one."""
    HANGS = "hangs"
    HANG_UP = "hang-up"
    """The caller hangs up just then."""
    STOP = "stop"
    """The daemon is told to stop just then, with no patience for calls."""


OF_REQUESTS = (
    How.DROPPED,
    How.R403,
    How.R404,
    How.R409,
    How.R500,
    How.R503,
    How.LATE,
    How.UNANSWERED,
)
OF_EVENTS = (How.LOST, How.DOUBLED, How.SWAPPED)
OF_STEPS = (How.HANG_UP, How.STOP)
STAGES = (Where.LISTEN, Where.THINK, Where.SPEAK, Where.AGENT)
LATE_SECONDS = 20.0
"""Seconds after which a late request is done: longer than any deadline of one."""
HANGS_SECONDS = 60.0
"""Seconds that Asterisk hangs. Other peers do so for good."""
MEDIA_STAGES = (-1.0, 0.0, 0.005, 0.5, 3.0)
"""Seconds after its connection at which a media leg hangs; less than 0: it does not connect."""


Strike = Callable[[Where, int], How | None]
"""Asked at each place where something can go wrong, in the order in which a life comes by: what does, if anything."""


def never(_where: Where, _number: int) -> How | None:
    """Nothing goes wrong."""
    return None


@attrs.frozen
class Fault:
    """One fault; `number` counts from 1."""

    where: Where
    number: int
    how: How

    def __str__(self) -> str:
        return f"{self.where}-{self.number}/{self.how}"

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read what `str` gives. Raises ValueError."""
        found = re.fullmatch(r"([a-z]+)-([1-9]\d*)/(.+)", text)
        if found is None:
            raise ValueError(f"a fault is PLACE-NUMBER/HOW, such as request-7/dropped, and not {text!r}")
        return cls(Where(found[1]), int(found[2]), How(found[3]))


@attrs.frozen
class Course:
    """A life without a fault: what there was that can go wrong. `steps` are those of the call's tasks."""

    requests: tuple[str, ...]
    events: tuple[str, ...]
    asked: dict[str, int]
    """What was asked of each stage, how often."""
    steps: int

    def of_requests(self) -> Iterator[Fault]:
        for number in range(1, len(self.requests) + 1):
            for how in OF_REQUESTS:
                yield Fault(Where.REQUEST, number, how)

    def of_events(self) -> Iterator[Fault]:
        for number in range(1, len(self.events) + 1):
            for how in OF_EVENTS:
                yield Fault(Where.EVENT, number, how)

    def of_peers(self) -> Iterator[Fault]:
        for number in range(1, len(self.requests) + 1):
            yield Fault(Where.HTTP, number, How.HANGS)
        for number in range(1, len(self.events) + 1):
            yield Fault(Where.EVENTS, number, How.HANGS)
        for number in range(1, len(MEDIA_STAGES) + 1):
            yield Fault(Where.AUDIOSOCKET, number, How.HANGS)
        for stage in STAGES:
            for number in range(1, self.asked.get(stage, 0) + 1):
                yield Fault(stage, number, How.HANGS)
