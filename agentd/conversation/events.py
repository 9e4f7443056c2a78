"""The events of a call, but for those of its session (agentd.session_events). Pure data; the machine answers."""

import attrs

from agentd.conversation.commands import Destination, Result


@attrs.frozen
class Connected:
    """The media leg carries audio and the agent's session is open."""


@attrs.frozen
class MediaLost:
    """The media leg ended while the caller's channel lives."""

    reason: str


@attrs.frozen
class MediaRestored:
    """A fresh media leg carries audio."""


@attrs.frozen
class MediaFailed:
    """No media leg could be brought up or brought back, or nothing can be played to the caller."""

    reason: str


@attrs.frozen
class AgentFailed:
    """No session with the agent could be opened."""

    reason: str


@attrs.frozen
class AgentReplaced:
    """Another session has taken the place of one that failed; it knows nothing of what the caller is doing."""


@attrs.frozen
class PlaybackStarted:
    """The caller begins to hear an utterance."""

    utterance: int


@attrs.frozen
class AsideStarted:
    """The caller begins to hear words that are no answer: a greeting, a filler, a check-in."""

    utterance: int


@attrs.frozen
class PlaybackFinished:
    """The caller hears nothing more of an utterance; `idle`: nothing else waits to be played."""

    utterance: int
    idle: bool


@attrs.frozen
class ProtectionBegan:
    """The caller begins to hear words that must not be interrupted."""


@attrs.frozen
class ProtectionEnded:
    """From now on the caller may interrupt again."""


@attrs.frozen
class CheckInDue:
    """Nobody has said anything for a while."""


@attrs.frozen
class SilenceOver:
    """The caller answered no check-in."""


@attrs.frozen
class AnswerSlow:
    """The answer in preparation takes longer than a caller likes to wait in silence."""


@attrs.frozen
class DurationWarningDue:
    """The call will have to end soon."""


@attrs.frozen
class DurationOver:
    """The call has lasted for as long as it may."""


@attrs.frozen
class DeadAir:
    """Neither side has been heard for so long that something must be broken."""

    reason: str


@attrs.frozen
class HoldBegan:
    """The caller has put the call on hold: nothing is heard of them, or music."""


@attrs.frozen
class HoldEnded:
    """The caller is back."""


@attrs.frozen
class DigitPressed:
    """The caller pressed a key. (Its DTMF may reach agentd twice; the call counts it once: agentd.media.dtmf.)"""

    digit: str


@attrs.frozen
class DepartureRequested:
    """The agent has ended the call with `result`, by a tool: once its words are heard, the caller goes on at
    `destination`, or where the caller came from."""

    result: Result
    destination: Destination | None = None


@attrs.frozen
class CallerUnbridged:
    """The caller's channel is not in the bridge of its streaming leg any more, and agentd did not ask for it."""


@attrs.frozen
class CallerReplaced:
    """Another party has taken the caller's place: an attended transfer. `channel` is the name of its channel."""

    channel: str


@attrs.frozen
class CallerChanged:
    """Another party may be at the other end of the caller's channel, which is the same: it was put through by somebody
    else's switching in front of it."""


@attrs.frozen
class CallerHungUp:
    """The caller's channel left the application: a hang-up; or somebody has `taken` it elsewhere (a program's redirect,
    a transfer), where it goes on."""

    taken: bool = False


@attrs.frozen
class ShutdownDue:
    """The daemon ends and its patience with running calls is over."""


@attrs.frozen
class Left:
    """The channel was handed back to the dialplan (or hung up)."""


CallerEvent = (
    CallerHungUp | CallerReplaced | CallerChanged | CallerUnbridged | Left | DigitPressed | HoldBegan | HoldEnded
)
"""The events that the caller's end of the line tells."""
