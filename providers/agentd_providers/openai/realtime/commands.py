"""What a Realtime session's machine wants done, in order; the session does it. Pure data."""

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.agent import SayOutcome
from agentd.history import Place, ToolUse
from agentd.session_events import SessionEvent


@attrs.frozen
class Send:
    """Send a message (see messages) to the server, behind all others."""

    message: Mapping[str, Any]


@attrs.frozen
class Tell:
    """Tell the call."""

    event: SessionEvent


@attrs.frozen
class Begin:
    """Begin an utterance in the agent's voice. `aside` and `text`: see VendorVoice.begin."""

    utterance: int
    aside: bool = False
    text: str = ""


@attrs.frozen
class Speak:
    """Audio of the utterance that has begun, in the session's format."""

    audio: bytes = attrs.field(repr=lambda audio: f"<{len(audio)} bytes>")


@attrs.frozen
class Finish:
    """The utterance that has begun is complete."""


@attrs.frozen
class Cut:
    """Nothing that was begun is wanted any more: what has not reached the playout is forgotten."""


@attrs.frozen
class Decide:
    """What became of the words of `Say(number)`."""

    number: int
    outcome: SayOutcome


@attrs.frozen
class RecordCaller:
    """Put what the caller said into the history, at its `place` or at the end."""

    text: str
    place: Place | None = None


@attrs.frozen
class RecordTool:
    """Put what a tool gave into the history."""

    use: ToolUse


@attrs.frozen
class Degrade:
    """Tell the call of a trouble, the first time that one of this kind comes up."""

    kind: str
    reason: str


@attrs.frozen
class Warn:
    """Warn in the log; the first time only for each `once` that is not empty."""

    text: str
    details: Mapping[str, object]
    once: str = ""


@attrs.frozen
class Note:
    """Leave a note in the log, for whoever debugs."""

    text: str
    details: Mapping[str, object]


@attrs.frozen
class End:
    """The session is over, and `failure` says why."""

    failure: str


Command = Send | Tell | Begin | Speak | Finish | Cut | Decide | RecordCaller | RecordTool | Degrade | Warn | Note | End
