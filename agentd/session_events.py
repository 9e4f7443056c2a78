"""The events by which an agent's session tells its call what happens (agentd.agent.AgentSession.events). Pure data."""

from collections.abc import Mapping
from enum import StrEnum

import attrs


@attrs.frozen
class CallerSpeechStarted:
    """The caller made a sound that may be speech (`at`: seconds of the daemon's monotonic clock)."""

    at: float


@attrs.frozen
class CallerSpeechConfirmed:
    """The sound goes on for longer than a click or a knock does."""

    at: float


@attrs.frozen
class CallerSpeechDoubted:
    """The sound goes on, or has just ended, and is likely nothing: an agent that has paused for it need not wait until
    that is known. Anything may follow that may follow `CallerSpeechConfirmed`, and that once more after a pause."""

    at: float


@attrs.frozen
class CallerTakesTurn:
    """It is clear that the caller speaks to be heard: an agent that speaks has to stop."""

    at: float


@attrs.frozen
class CallerSpeechDismissed:
    """The sound was nothing to act on: noise, a cough, a "mhm" while the agent speaks. Nothing was said."""

    reason: str


@attrs.frozen
class CallerPaused:
    """The caller fell silent; whether the turn is over or this is a hesitation is not known yet."""

    at: float


@attrs.frozen
class CallerSpeechResumed:
    """The caller goes on after a pause: it was a hesitation."""

    at: float


@attrs.frozen
class CallerSpeechEnded:
    """The caller's turn is over.

    `at` is when this was decided, `last_speech_at` when the caller was last heard speaking.
    """

    at: float
    last_speech_at: float


@attrs.frozen
class CallerText:
    """The caller's words, as heard so far (`final` false) or for good."""

    text: str
    final: bool = True


@attrs.frozen
class CallerWordsDropped:
    """Words that a speech engine wrote do not count, for this cause, as the metric has it.

    "tag": they stand for a sound. "unsure": nobody was surely heard to speak. "pace": they are more than is said in the
    time. "end_phrase": they count, but were not heard surely enough to end the call. `measured` is for the log.
    """

    cause: str
    measured: Mapping[str, float | None] = attrs.field(factory=dict, eq=False)


@attrs.frozen
class UtteranceStarted:
    """The agent begins an utterance; its audio follows in the playout.

    An `aside` is no answer to the caller: a greeting, a filler, whatever `say` asked for.
    """

    utterance: int
    aside: bool = False


@attrs.frozen
class AgentText:
    """Words of an utterance, in order."""

    utterance: int
    text: str


@attrs.frozen
class UtteranceEnded:
    """All of an utterance's audio is in the playout."""

    utterance: int


@attrs.frozen
class Withdrawn:
    """The agent takes an utterance back that it has ended: what of it was not heard is not to be, and stays out of the
    history. Its answer follows in another one."""

    utterance: int


class Cut(StrEnum):
    """Why a model's reply ended before the model had come to its end."""

    LENGTH = "length"
    """It reached its longest."""
    THINKING = "thinking"
    """The same, and all of it was thoughts: nothing was said."""
    FILTER = "filter"
    """The vendor's filter stopped it."""
    BROKEN = "broken"
    """The answer ended, failed or fell silent in the middle, or what came is in itself not whole."""


@attrs.frozen
class ReplyCut:
    """A model's reply was cut, for the figures. What becomes of the turn is told beside it: by Degraded where the words
    that there are stand for an answer, else by AnswerFailed."""

    cause: Cut


@attrs.frozen
class NothingToSay:
    """The caller's turn needs no answer (nothing intelligible was said, or the model gave no words)."""

    reason: str


@attrs.frozen
class AnswerFailed:
    """The caller's turn gets no answer from this session, because the provider failed; the session goes on.

    Where another agent can take over it does, and answers; else the turn has none. `of_this_call`: the provider refused
    what this call asks, as in `agentd.errors.CallRejected`, so that it tells nothing of other calls.
    """

    reason: str
    of_this_call: bool = False


@attrs.frozen
class ToolRequested:
    """The model asks for a tool; `arguments` is its JSON text, not to be trusted.

    `call` is the session's own name of the request, for `tool_result`. The model's words before it come first: the
    utterance's end, or at least all of its audio that there is by now.
    """

    name: str
    arguments: str
    call: str


@attrs.frozen
class Thinking:
    """An answer is on its way: a sign of life, for whoever waits for it."""


@attrs.frozen
class Alive:
    """The provider has answered a probe: it is there, whether or not it is at work."""


@attrs.frozen
class StageTiming:
    """How long one stage of the answer that is about to be heard took, in seconds.

    Stages that follow one another: "pause" (from the caller's last speech until the silence was noticed),
    "transcript", "first_token", "first_audio", "held" (ready, but the turn not yet over). Beside them "endpoint",
    from the last speech to the decision that the turn is over. A vendor tells what it knows.
    """

    stage: str
    seconds: float


@attrs.frozen
class Degraded:
    """The session goes on, but worse than it should; `reason` is for the log."""

    reason: str


@attrs.frozen
class RenewalDue:
    """The session has to end within `seconds` (the provider's limit): another one should take its place before."""

    seconds: float


@attrs.frozen
class Ended:
    """The session is over. `failure` says why where it ended on an error; empty: the agent hung up. `of_this_call`: see
    AnswerFailed."""

    failure: str = ""
    of_this_call: bool = False


SessionEvent = (
    CallerSpeechStarted
    | CallerSpeechConfirmed
    | CallerSpeechDoubted
    | CallerTakesTurn
    | CallerSpeechDismissed
    | CallerPaused
    | CallerSpeechResumed
    | CallerSpeechEnded
    | CallerText
    | CallerWordsDropped
    | UtteranceStarted
    | AgentText
    | UtteranceEnded
    | NothingToSay
    | AnswerFailed
    | ToolRequested
    | Thinking
    | Alive
    | StageTiming
    | Degraded
    | Withdrawn
    | ReplyCut
    | RenewalDue
    | Ended
)
