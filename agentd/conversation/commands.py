"""The conversation's orders to its call, and the results of calls. Pure data; agentd.calls.call carries out."""

from enum import StrEnum

import attrs


class Result(StrEnum):
    """Why a call left agentd: the value of the channel variable AGENTD_RESULT, where agentd has let the caller go."""

    COMPLETED = "completed"
    TRANSFERRED = "transferred"
    CALLER_HUNG_UP = "caller-hung-up"
    TAKEN_AWAY = "taken-away"
    FAILED_MEDIA = "failed:media"
    FAILED_AGENT = "failed:agent"
    FAILED_TRANSFER = "failed:transfer"
    FAILED_INTERNAL = "failed:internal"
    FAILED_SILENCE = "failed:silence"
    SHUTDOWN = "shutdown"
    CALLER_SILENT = "caller-silent"
    MAX_DURATION = "max-duration"
    REFUSED_BUSY = "refused:busy"
    REFUSED_DRAINING = "refused:draining"
    REFUSED_AGENT = "refused:agent"
    REFUSED_ARGUMENTS = "refused:arguments"


@attrs.frozen
class Destination:
    """Where in the dialplan a channel goes on: `extension` in `context`."""

    context: str
    extension: str
    priority: int = 1

    def __str__(self) -> str:
        return f"{self.extension}@{self.context}"


class Phrase(StrEnum):
    """Words of agentd's own that the agent is asked to say; which ones, the configuration tells."""

    GREETING = "greeting"
    CHECK_IN = "check-in"
    FILLER = "filler"
    DURATION_WARNING = "duration warning"


@attrs.frozen
class Say:
    """Have the agent say a phrase."""

    phrase: Phrase


@attrs.frozen
class FeedDigit:
    """Hand a digit to the session."""

    digit: str


@attrs.frozen
class Answer:
    """Let the agent's answer be heard, as soon as there is one."""


@attrs.frozen
class Withhold:
    """Keep the answer back, of which nothing has been heard: the caller may be going on."""


@attrs.frozen
class Attenuate:
    """Go on more quietly."""


@attrs.frozen
class Pause:
    """Fall silent, keeping the place."""


@attrs.frozen
class Restore:
    """Go on at full level where it was paused."""


@attrs.frozen
class Hold:
    """The caller has put the call on hold: fall silent where the agent is, and say nothing more until `Unhold`."""


@attrs.frozen
class Unhold:
    """The caller is back: go on where it fell silent, and with what was to be said meanwhile."""


@attrs.frozen
class Interrupt:
    """Throw away what the agent is saying and preparing: what was not heard will not be, nor did it happen."""


@attrs.frozen
class Withdraw:
    """Stop an utterance that the agent has taken back, if it is being heard; what else it says or prepares stays."""

    utterance: int


@attrs.frozen
class Leave:
    """End the call: play the announcement (if any), then hand the channel back with the result.

    `finish` lets what the agent is saying come to its end first; else it is stopped at once. The channel goes on at
    `destination`, or where it came from.
    """

    result: Result
    detail: str = ""
    announce: bool = False
    finish: bool = False
    destination: Destination | None = None


@attrs.frozen
class End:
    """The caller is gone: free everything."""

    result: Result


Command = (
    Say
    | FeedDigit
    | Answer
    | Withhold
    | Attenuate
    | Pause
    | Restore
    | Hold
    | Unhold
    | Interrupt
    | Withdraw
    | Leave
    | End
)
