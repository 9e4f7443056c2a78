"""How much each cue for the end of a turn counts, by which of them are known, and what that comes to. Pure.

Logistic regressions over turns by many voices, complete and held up, at the silences at which the sound is looked at:
`just fit-turns` prints the rows. What is missing is not guessed: the others then count by a row of their own.
"""

import math
from collections.abc import Mapping
from typing import Final

import attrs

from agentd_providers.turns.marks import NO_MARKS, Marks

SENTENCE_FLOOR: Final = 0.003
"""Added to what a language model says: its knowledge is in its small probabilities, so it counts by their logarithm."""


@attrs.frozen
class Weights:
    """A row: of the log-odds of the sound and of the words, of the logarithm of the sentence's end, and of marks."""

    constant: float
    sound: float
    words: float
    sentence: float
    comma: float = 0.0
    """Taken off where the words end with one."""
    question: float = 0.0
    sentence_before: float = 0.0

    def complete(self, sound: float, words: float, sentence: float, marks: Marks = NO_MARKS) -> float:
        """Log-odds that the turn is complete. What a row does not weigh may be anything."""
        return (
            self.constant
            + self.sound * log_odds(sound)
            + self.words * log_odds(words)
            + self.sentence * math.log(sentence + SENTENCE_FLOOR)
            - self.comma * marks.comma
            + self.question * marks.question
            + self.sentence_before * marks.sentence_before
        )


ROWS: Final[Mapping[tuple[int | None, bool], Weights]] = {
    (None, False): Weights(0.2, 0.0, 0.52, 0.0, 0.73, 0.22, 0.65),
    (None, True): Weights(1.17, 0.0, 0.09, 0.7, 0.62, 0.19, 0.59),
    (0, False): Weights(0.06, 0.6, 0.39, 0.0, 0.63, 0.39, 0.51),
    (0, True): Weights(1.1, 0.47, 0.09, 0.57, 0.56, 0.31, 0.51),
    (1, False): Weights(-0.1, 0.56, 0.44, 0.0, 0.59, 0.3, 0.56),
    (1, True): Weights(0.94, 0.45, 0.13, 0.54, 0.5, 0.23, 0.55),
    (2, False): Weights(-0.02, 0.72, 0.42, 0.0, 0.63, 0.32, 0.61),
    (2, True): Weights(0.95, 0.59, 0.13, 0.51, 0.55, 0.22, 0.58),
    (3, False): Weights(-0.2, 0.8, 0.4, 0.0, 0.72, 0.25, 0.53),
    (3, True): Weights(0.72, 0.66, 0.16, 0.48, 0.62, 0.17, 0.52),
}
"""By the look at the sound (None: not known) and whether the sentence's end is known."""


@attrs.frozen
class Curve:
    """Log-odds at which a pause may last for `stop_ms`, `unsure_ms`, `hesitation_ms` and `max_silence_ms`, falling."""

    sure: float
    unsure: float
    doubtful: float
    broken_off: float


@attrs.frozen
class Weighing:
    """The rows, and the curve from what they come to to a silence."""

    rows: Mapping[tuple[int | None, bool], Weights]
    curve: Curve

    def row(self, look: int | None, *, sentence: bool) -> Weights:
        """That for what is known; looks beyond those that were fitted count as the last of them."""
        last = max(number for number, _ in self.rows if number is not None)
        return self.rows[None if look is None else min(look, last), sentence]


WEIGHING: Final = Weighing(ROWS, Curve(sure=1.5, unsure=1.3, doubtful=-1.1, broken_off=-3.4))
"""Of the curves that cost the turns of the part `fit` least, each voice heard by a head that does not know it (`just
fit-turns`), one that costs those of `choose` little, too."""


def log_odds(probability: float, least: float = 0.005) -> float:
    """Of a cue, none of which is surer than `least` allows."""
    bounded = min(max(probability, least), 1 - least)
    return math.log(bounded / (1 - bounded))
