"""How long a caller's pause may last before the turn is over: by the words so far, their sound, the caller's habit.
Pure.

Each cue alone is wrong too often. How the words end is read by agentd_providers.turns.word_ends; Smart Turn hears
their melody; a language model knows whether a sentence ends after them; and who has paused within a turn before will
do so again.
"""

from collections.abc import Sequence

import attrs

from agentd_providers.turns.marks import NO_MARKS, Marks
from agentd_providers.turns.weights import WEIGHING, Curve, Weighing
from agentd_providers.turns.word_ends import NEUTRAL, Told

_HABIT_LOG_ODDS, _HABIT_MOST = 0.05, 3
"""The share that each of the caller's long pauses takes off, and how many of them count."""
_HABIT_MARGIN = 1.1
"""A hesitating caller is waited for this many times his longest pause."""


@attrs.frozen
class Sound:
    """What a look at the turn's sound says."""

    complete: float
    """The probability that the turn is complete, 0 to 1."""
    look: int = 0
    """Which look at this pause it was: the silence was longer each time (agentd_providers.turns.settings.LOOKS_MS)."""


@attrs.frozen
class PatienceSettings:
    """How long a silence may last within a turn, in ms, each at least as long as the one before.

    `stop_ms` where the turn is surely complete, `unsure_ms` where it likely is, `hesitation_ms` where it likely is
    not; `max_silence_ms` ends any turn.
    """

    stop_ms: float
    unsure_ms: float
    hesitation_ms: float
    max_silence_ms: float


def silence_needed(
    sound: Sound | None,
    words: float | None,
    pauses: Sequence[float],
    settings: PatienceSettings,
    *,
    sentence: float | None = None,
    told: Told | None = None,
    marks: Marks = NO_MARKS,
    weighing: Weighing = WEIGHING,
) -> float:
    """The ms of silence after which the turn counts as over; never more when a cue says "complete" more clearly.

    Waiting costs the caller who has finished, and not waiting the one who has not. Were pauses within a turn of
    exponential lengths, the silence that costs least would fall evenly with the log-odds that the turn is complete: it
    does so here, between the bounds that the settings give.

    Args:
        sound: what the last look at the sound says; None if not known.
        words: how complete they look by their end (agentd_providers.turns.word_ends); None if not known.
        pauses: this caller's earlier pauses within turns, in ms.
        settings: how patient to be.
        sentence: a language model's probability that a sentence ends after the words; None if not known.
        told: what the words tell surely, if anything: it bounds what the cues come to.
        marks: those that the transcriber set.
        weighing: how much each of them counts.
    """
    if told in (Told.MISSING, Told.SPELLED):
        sentence = None
    weights = weighing.row(None if sound is None else sound.look, sentence=sentence is not None)
    complete = weights.complete(
        NEUTRAL if sound is None else sound.complete, NEUTRAL if words is None else words, sentence or 0.0, marks
    )
    long = sum(pause > settings.unsure_ms for pause in pauses)
    complete -= _HABIT_LOG_ODDS * min(long, _HABIT_MOST)
    complete = _bounded(complete, told, weighing.curve)
    hesitation_ms = max([settings.hesitation_ms, *(_HABIT_MARGIN * pause for pause in pauses)])
    curve = weighing.curve
    steps = (
        (curve.sure, settings.stop_ms),
        (curve.unsure, settings.unsure_ms),
        (curve.doubtful, hesitation_ms),
        (curve.broken_off, max(hesitation_ms, settings.max_silence_ms)),
    )
    return min(_between(complete, steps), settings.max_silence_ms)


def _bounded(complete: float, told: Told | None, curve: Curve) -> float:
    match told:
        case Told.MISSING:
            return min(complete, curve.doubtful)
        case Told.SPELLED:
            return min(complete, curve.unsure)
        case Told.WHOLE:
            return max(complete, curve.unsure)
        case None:
            return complete


def _between(value: float, steps: Sequence[tuple[float, float]]) -> float:
    """Straight lines through `steps`, which fall in the first and rise in the second number."""
    upper, needed = steps[0]
    if value >= upper:
        return needed
    for lower, more in steps[1:]:
        if value >= lower:
            return needed + (more - needed) * (upper - value) / (upper - lower)
        upper, needed = lower, more
    return needed
