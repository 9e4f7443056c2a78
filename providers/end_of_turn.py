"""How long a caller's pause may last before the turn is over: the words so far, how they sounded, the caller's habit.
Pure.

Three cues, each wrong too often alone. `words_complete` reads how the words end; Smart Turn hears the melody; and who
has paused within a turn before will do so again. A silence shorter than what they ask for belongs to the turn.
"""

import math
import re
from collections.abc import Sequence

import attrs

NEUTRAL = 0.5
"""What the words say when they say nothing."""

_FILLERS = frozenset("uh um uhm erm er ah eh hm hmm mm well so like okay".split())
_NEVER_LAST = frozenset(
    # Articles, possessives, conjunctions, and the prepositions that do not end a question either.
    """a an the my your our their its and or but because although unless whether if than
    of at from into onto between among during per via toward towards without as
    every each very quite rather extremely i we they he she
    i'm you're we're they're he's she's it's that's there's what's who's where's
    i'll you'll we'll they'll i've you've we've they've i'd you'd we'd they'd""".split()
)
_RARELY_LAST = frozenset(
    """to for with in on by about through until while when where which that this these those some any another other
    is are was were am be been being has have had will would could should shall may might must do does did can cannot
    not just only currently now also even still please want need would like let's want get tell say give make put
    find take send bring try press enter no his more most""".split()
)
_QUESTION = re.compile(r"^(?:\w+ )?(?:who|whom|whose|what|which|where|when|why|how)\b")
_SHORT_ANSWER = re.compile(
    r"^(?:(?:yes|yeah|no|nope|sure|okay|well|i think|i hope|i guess|i'm sure) )*"
    r"(?:i|you|we|they|he|she|it|that|this|there) (?:\w+ )?"
    r"(?:is|are|was|were|am|has|have|had|will|would|could|should|do|does|did|can|cannot|might|must)$"
)
_NUMBERS = "zero oh one two three four five six seven eight nine double".split()
_DIGITS = re.compile(rf"^(?:\d[\d-]*|{'|'.join(_NUMBERS)})$")
_SPELT_OUT = 7
"""Digits from which on a number may be complete: the shortest telephone numbers with a subscriber's own part."""


@attrs.frozen
class PatienceSettings:
    """Silences in ms. `stop_ms` ends a turn that is surely complete, `max_silence_ms` any."""

    stop_ms: float = 200.0
    unsure_ms: float = 600.0
    hesitation_ms: float = 1300.0
    max_silence_ms: float = 2000.0


def words_complete(text: str, language: str = "en") -> float:
    """How complete the words of a turn look by how they end, 0 to 1; `NEUTRAL` where nothing can be said."""
    words = re.findall(r"[\w'-]+", text.lower())
    if not words or not language.lower().startswith("en"):
        return NEUTRAL
    last = words[-1]
    line = " ".join(words)
    if last in _FILLERS and len(words) > 1:
        return 0.03
    if _SHORT_ANSWER.match(line):
        return 0.7
    if last in _NEVER_LAST:
        return 0.05
    digits = _digits_at_the_end(words)
    if digits > 1:
        return 0.2 if digits < _SPELT_OUT else 0.6
    if last in _RARELY_LAST:
        return NEUTRAL if _QUESTION.match(line) else 0.15
    return 0.7


def silence_needed(
    smart: float | None, words: float | None, pauses: Sequence[float], settings: PatienceSettings
) -> float:
    """The ms of silence after which the turn counts as over; less, the more complete it looks and sounds.

    Args:
        smart: Smart Turn's probability that the turn is complete; None if it is not known (yet).
        words: what `words_complete` says; None if they are not known (yet).
        pauses: this caller's earlier pauses within turns, in ms.
        settings: how patient to be.
    """
    complete = 0.6 * (NEUTRAL if smart is None else smart) + 0.4 * (NEUTRAL if words is None else words)
    longest = max([settings.hesitation_ms, *(1.2 * pause for pause in pauses)])
    needed = settings.stop_ms + (longest - settings.stop_ms) * (1 - complete)
    return min(needed, settings.max_silence_ms)


def _digits_at_the_end(words: Sequence[str]) -> int:
    count = 0
    for word in reversed(words):
        if not _DIGITS.match(word):
            break
        count += max(1, sum(letter.isdigit() for letter in word))
    return count


def _logit(probability: float) -> float:
    bounded = min(max(probability, 0.001), 0.999)
    return math.log(bounded / (1 - bounded))
