"""How long a caller's pause may last before the turn is over: by the words so far, their sound, the caller's habit.
Pure.

Each cue alone is wrong too often. `words_complete` reads how the words end; Smart Turn hears their melody; a language
model knows whether a sentence ends after them; and who has paused within a turn before will do so again.
"""

import re
from collections.abc import Sequence

import attrs

from agentd_providers.turns.weights import WEIGHING, Weighing
from agentd_providers.turns.words import phrases

NEUTRAL = 0.5
"""The words' judgement where they say nothing."""

_FILLERS = phrases("uh um uhm erm er ah eh hm hmm mm")
_NEVER_LAST = phrases(
    """a an the my our your their its every each very quite rather extremely
    and or but because although unless whether if than as of at from into onto between among during per via toward
    towards without
    i we they he she i'm you're we're they're he's she's it's that's there's what's who's where's i'll you'll we'll
    they'll i've you've we've they've i'd you'd we'd they'd"""
)
"""Articles, possessives, intensifiers; conjunctions and prepositions that end no question; subjects."""
_RARELY_LAST = phrases(
    """to for with in on by about through until while when where which some any another other his more most so like well
    is are was were am be been being has have had will would could should shall may might must do does did can cannot
    not just only currently even want need let's get tell say give make put find take send bring try press enter
    called"""
)
"""Particles, determiners, auxiliaries, and verbs that want an object: they end a turn now and then."""
_POINTING = phrases("this that these those")
_WHOLE_PAIRS = phrases(
    """think so|hope so|guess so|suppose so|said so|hope not|guess not|why not|or not|as well|very well|hold on|go on|
    come on|hang on|log in|log on|sign in|sign up|hang up|call in|the other|any more|once more""",
    "|",
)
"""Words at the end that the sets above would take for unfinished."""
_QUESTION = re.compile(r"^(?:\w+ )?(?:who|whom|whose|what|which|where|when|why|how)\b")
_REQUEST_BEGUN = re.compile(r"\b(?:can|could|would|will) (?:you|i|we)(?: please)?$")
_PRONOUN = "(?:i|you|we|they|he|she|it|that|this|there)"
_AUXILIARY = "(?:is|are|was|were|am|has|have|had|will|would|could|should|do|does|did|can|cannot|might|must)(?: not)?"
_CLAUSE = re.compile(
    rf"^(?:(?:yes|yeah|no|nope|sure|okay|well|i think|i hope|i guess|i'm sure) )*{_PRONOUN} {_AUXILIARY}$"
    rf"|\b(?:who|what|where|when|why|how) {_PRONOUN} {_AUXILIARY}$"
)
"""Clauses that end with an auxiliary: short answers ("yes, I do") and what a question asked for ("what it is")."""
_WHOLE = phrases(
    """yes|yeah|yep|yes please|no|nope|no thank you|no thanks|thank you|thanks|hello|hi|goodbye|bye|okay|sure|
    i don't know|i do not know|i don't think so|that's it|that's all|that is all|nothing|nothing else|never mind|
    not really|of course|not yet|maybe|i'm not sure""",
    "|",
)
"""Words that often are a whole turn."""
_DIGIT = re.compile(r"^(?:\d[\d-]*|zero|oh|one|two|three|four|five|six|seven|eight|nine|double)$")
_WHOLE_NUMBER = 7
"""Digits from which on a number may be complete: a telephone number without its area code."""

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


def words_complete(text: str, language: str = "en") -> float:
    """How complete the words of a turn look by how they end, 0 to 1; `NEUTRAL` where nothing can be said.

    Punctuation is not read: speech engines put a full stop after anything.
    """
    words = re.findall(r"[\w'-]+", text.lower())
    if not words or not language.lower().startswith("en"):
        return NEUTRAL
    last, line = words[-1], " ".join(words)
    if line in _WHOLE:
        return 0.97
    if _CLAUSE.search(line) or " ".join(words[-2:]) in _WHOLE_PAIRS:
        return 0.7
    if last in _FILLERS:
        return 0.03
    if last in _NEVER_LAST or _REQUEST_BEGUN.search(line):
        return 0.05
    if (digits := _digits_at_the_end(words)) > 1:
        return 0.2 if digits < _WHOLE_NUMBER else 0.6
    if last in _RARELY_LAST and len(words) > 1:
        return NEUTRAL if _QUESTION.match(line) else 0.15
    if last in _POINTING and len(words) > 1:
        return 0.35
    if last == "please":
        return NEUTRAL
    return 0.7


def silence_needed(
    sound: Sound | None,
    words: float | None,
    pauses: Sequence[float],
    settings: PatienceSettings,
    *,
    sentence: float | None = None,
    weighing: Weighing = WEIGHING,
) -> float:
    """The ms of silence after which the turn counts as over; never more when a cue says "complete" more clearly.

    Waiting costs the caller who has finished, and not waiting the one who has not. Were pauses within a turn of
    exponential lengths, the silence that costs least would fall evenly with the log-odds that the turn is complete: it
    does so here, between the bounds that the settings give.

    Args:
        sound: what the last look at the sound says; None if not known.
        words: what `words_complete` says; None if not known.
        pauses: this caller's earlier pauses within turns, in ms.
        settings: how patient to be.
        sentence: a language model's probability that a sentence ends after the words; None if not known.
        weighing: how much each of them counts.
    """
    weights = weighing.row(None if sound is None else sound.look, sentence=sentence is not None)
    complete = weights.complete(
        NEUTRAL if sound is None else sound.complete, NEUTRAL if words is None else words, sentence or 0.0
    )
    long = sum(pause > settings.unsure_ms for pause in pauses)
    complete -= _HABIT_LOG_ODDS * min(long, _HABIT_MOST)
    hesitation_ms = max([settings.hesitation_ms, *(_HABIT_MARGIN * pause for pause in pauses)])
    curve = weighing.curve
    steps = (
        (curve.sure, settings.stop_ms),
        (curve.unsure, settings.unsure_ms),
        (curve.doubtful, hesitation_ms),
        (curve.broken_off, max(hesitation_ms, settings.max_silence_ms)),
    )
    return min(_between(complete, steps), settings.max_silence_ms)


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


def _digits_at_the_end(words: Sequence[str]) -> int:
    count = 0
    for word in reversed(words):
        if not _DIGIT.match(word):
            break
        count += max(1, sum(letter.isdigit() for letter in word))
    return count
