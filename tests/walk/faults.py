"""What goes wrong in a life: one fault, at one place. Pure."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

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
    LEG = "leg"
    """How far each media leg of the call comes: see LEG_STAGES."""
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
    SILENT = "silent"
    """Nothing comes over the media leg any more, as of a telephone that sends nothing."""
    STRANGER = "stranger"
    """Somebody else sends a voice to the media leg's port, without an end."""
    RENUMBERED = "renumbered"
    """The media leg's stream begins anew: another SSRC, other numbers."""
    BURST = "burst"
    """What comes over the media leg is held up for a second, and comes at once."""
    DIES = "dies"
    """The media leg's channel is hung up on the PBX."""
    UNNAMED = "unnamed"
    """The media leg is there, and where Asterisk has its end, or which leg it is, is not told."""
    DEAF = "deaf"
    """Nothing that is sent over the media leg is read any more."""
    UNSTARTED = "unstarted"
    """The media leg's WebSocket never says what it carries (MEDIA_START)."""
    PLAIN = "plain"
    """It says everything as plain text, no JSON, as an Asterisk that is too old does."""
    ERROR = "error"
    """It says that a command has failed (ERROR)."""
    STOPPED = "stopped"
    """It says stop (MEDIA_XOFF), and never go on."""
    UNMARKED = "unmarked"
    """It reports no mark any more."""
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
HARMLESS = (How.STRANGER, How.RENUMBERED, How.BURST, How.STOPPED, How.UNMARKED)
"""Whatever else becomes of a call, its caller is heard and answered all the same."""
OF_STEPS = (How.HANG_UP, How.STOP)
STAGES = (Where.LISTEN, Where.THINK, Where.SPEAK, Where.AGENT)
LATE_SECONDS = 20.0
"""Seconds after which a late request is done: longer than any deadline of one."""
HANGS_SECONDS = 60.0
"""Seconds that Asterisk hangs. Other peers do so for good."""
LEG_STAGES = (-1.0, 0.0, 0.005, 0.5, 3.0)
"""Seconds after its begin at which something happens to a media leg; less than 0: it does not come up."""
AUDIOSOCKET, RTP, WEBSOCKET, WEBSOCKET_CLIENT = "audiosocket", "rtp", "websocket", "websocket client"
"""How media legs carry audio; by the last one it is Asterisk that connects."""
_BEFORE, _AT_ONCE, _UP = 1, 2, 4
_OF_WEBSOCKETS: Final[Mapping[How, Sequence[int]]] = {
    How.HANGS: range(1, len(LEG_STAGES) + 1),
    How.DROPPED: (_BEFORE, _AT_ONCE, _UP),
    How.UNNAMED: (_BEFORE,),
    **dict.fromkeys((How.UNSTARTED, How.PLAIN), (_AT_ONCE,)),
    **dict.fromkeys((How.ERROR, How.STOPPED, How.UNMARKED, How.SILENT, How.DEAF, How.DIES), (_AT_ONCE, _UP)),
}
OF_LEGS: Final[Mapping[str, Mapping[How, Sequence[int]]]] = {
    AUDIOSOCKET: {How.HANGS: range(1, len(LEG_STAGES) + 1)},
    RTP: {
        How.UNNAMED: (_BEFORE,),
        **dict.fromkeys((How.HANGS, How.SILENT, How.STRANGER, How.RENUMBERED, How.BURST, How.DIES), (_AT_ONCE, _UP)),
    },
    WEBSOCKET: {How.R404: (_BEFORE,), **_OF_WEBSOCKETS},
    WEBSOCKET_CLIENT: {How.R403: (_BEFORE,), **_OF_WEBSOCKETS},
}
"""What may happen to a media leg, by how it carries audio, and the numbers of the stages at which it may."""


Strike = Callable[[Where, int], How | None]
"""Asked at each place where something can go wrong, in the order in which a life comes by: what does, if anything."""


def never(_where: Where, _number: int) -> How | None:
    """Nothing goes wrong."""
    return None


@attrs.frozen
class Mishap:
    """What happens to a media leg, and after how many seconds; see LEG_STAGES."""

    how: How
    after: float

    def due(self, how: How, seconds: float) -> bool:
        """Whether it is this, and has happened to a leg that is so old."""
        return self.how is how and seconds >= self.after


UNHARMED: Final = Mishap(How.HANGS, math.inf)
"""Nothing ever happens to the leg."""


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
        for stage in STAGES:
            for number in range(1, self.asked.get(stage, 0) + 1):
                yield Fault(stage, number, How.HANGS)


def of_legs(carriage: str) -> Iterator[Fault]:
    """What may happen to media legs whose audio is carried so."""
    for how, numbers in OF_LEGS[carriage].items():
        for number in numbers:
            yield Fault(Where.LEG, number, how)
