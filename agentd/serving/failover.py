"""The decisions for a call whose agent fails: who takes over, from where, and with what words. Pure."""

from collections.abc import Sequence
from enum import StrEnum

import attrs

from agentd import deadlines
from agentd.serving.candidates import Candidate

RECONNECTS = 2
"""Fresh sessions with the same agent in one call, after which only others are asked (if there are any)."""
RECONNECT_WITHIN = deadlines.SESSION_AGAIN.seconds


class Loss(StrEnum):
    """How a session failed."""

    ENDED = "ended"
    MUTE = "mute"
    UNANSWERED = "unanswered"
    """It goes on, but cannot answer."""


@attrs.frozen
class Lost:
    """That a session failed, and why."""

    loss: Loss
    reason: str
    of_this_call: bool = False
    """See agentd.session_events.AnswerFailed."""


@attrs.frozen
class FailoverTimes:
    """See agentd.config.settings.Failover: seconds, the hold message and the apology."""

    open_within: float
    mute_after: float
    hold_message: str
    apology: str


@attrs.frozen
class Standing:
    """How a call stood when its session failed, at second `at`.

    `owed`: the caller's last words are known and unanswered. `answer_due`: the caller waits for an answer.
    `cut_answer`, `cut_aside`: an answer, or other words, were not complete. `caller_speaks`: in the middle of a turn.
    `onset`: when the caller's last turn began, as the session told; `unheard_from`: when a speech of the caller began
    that the session has taken no notice of.
    """

    at: float
    owed: bool = False
    answer_due: bool = False
    cut_answer: bool = False
    cut_aside: bool = False
    caller_speaks: bool = False
    onset: float | None = None
    unheard_from: float | None = None


@attrs.frozen
class Takeover:
    """The next session's beginning: caller audio from second `replay_from` on, and `resume` (see AgentSession).

    `hold`: the caller waits, so the hold message is due. `repeat`: the words that were being said are said again.
    """

    replay_from: float
    resume: bool = False
    hold: bool = False
    repeat: bool = False


def plan(standing: Standing, lead: float) -> Takeover:
    """How to go on. Audio is replayed from `lead` seconds before an onset. Where none is known it is the last `lead`
    seconds: a word may be beginning."""
    if standing.caller_speaks and standing.onset is not None:
        return Takeover(standing.onset - lead)
    if standing.cut_answer or (standing.answer_due and standing.owed):
        return Takeover(standing.at, resume=True, hold=True)
    if standing.answer_due and standing.onset is not None:  # the words were lost with the session
        return Takeover(standing.onset - lead, hold=True)
    if standing.unheard_from is not None:
        return Takeover(standing.unheard_from - lead, hold=True)
    if standing.owed:
        return Takeover(standing.at, resume=True, hold=True)
    return Takeover(standing.at - lead, repeat=standing.cut_aside)


def successors(
    candidates: Sequence[Candidate], failed: Candidate, loss: Loss, *, rejected: bool, reconnects: int
) -> list[Candidate]:
    """The candidates to ask, in order. An agent whose connection broke is asked first itself: it knows the caller's
    voice, and most breaks are brief. One that fell mute, cannot answer, refuses us or broke often is asked last."""
    others = [candidate for candidate in candidates if candidate is not failed]
    again = loss is Loss.ENDED and not rejected and reconnects < RECONNECTS
    return [failed, *others] if again else [*others, failed]
