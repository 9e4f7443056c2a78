"""The commands of the machine of a vendor's session; the session carries them out, in order. Pure data.

Not every vendor's machine has need of all of them.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.agent import SayOutcome
from agentd.budgets import Budget
from agentd.history import Place, ToolUse
from agentd.session_events import SessionEvent

Message = Mapping[str, Any]


@attrs.frozen
class Send:
    """Send a message to the vendor, behind all others."""

    message: Message


@attrs.frozen
class Tell:
    """Tell the call."""

    event: SessionEvent


@attrs.frozen
class Begin:
    """Begin an utterance in the agent's voice: see VendorVoice.begin. `utterance`: its number, 0 for a new one."""

    utterance: int = 0
    aside: bool = False
    text: str = ""


@attrs.frozen
class Words:
    """Words of the utterance that has begun, which its audio speaks: see VendorVoice.words."""

    text: str


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
class Hold:
    """Cut, and keep back what is begun from now on: see VendorVoice.hold."""


@attrs.frozen
class Release:
    """Let go what is held."""


@attrs.frozen
class Decide:
    """The outcome of the words of `Say(number)`."""

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
class Count:
    """Count something that came and that nobody can use."""


@attrs.frozen
class Exceeded:
    """Count something that was left out because it is beyond a budget of the call's."""

    budget: Budget


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


Command = (
    Send
    | Tell
    | Begin
    | Words
    | Speak
    | Finish
    | Cut
    | Hold
    | Release
    | Decide
    | RecordCaller
    | RecordTool
    | Degrade
    | Count
    | Exceeded
    | Warn
    | Note
    | End
)
