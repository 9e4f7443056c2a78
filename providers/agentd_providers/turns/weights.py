"""How much each cue for the end of a turn counts, by which of them are known, and what that comes to. Pure.

Logistic regressions over turns by many voices, complete and held up, at the silences at which the sound is looked at:
`just fit-turns` prints the rows. What is missing is not guessed: the others then count by a row of their own.
"""

import math
from collections.abc import Mapping
from typing import Final

import attrs

SENTENCE_FLOOR: Final = 0.003
"""Added to what a language model says: its knowledge is in its small probabilities, so it counts by their logarithm."""


@attrs.frozen
class Weights:
    """A row: of the log-odds of the sound and of the words, and of the logarithm of the sentence's end."""

    constant: float
    sound: float
    words: float
    sentence: float

    def complete(self, sound: float, words: float, sentence: float) -> float:
        """Log-odds that the turn is complete. What a row does not weigh may be anything."""
        return (
            self.constant
            + self.sound * log_odds(sound)
            + self.words * log_odds(words)
            + self.sentence * math.log(sentence + SENTENCE_FLOOR)
        )


ROWS: Final[Mapping[tuple[int | None, bool], Weights]] = {
    (None, False): Weights(0.2, 0.0, 0.53, 0.0),  # fitted: -0.22; where nothing at all is known nobody waits so long
    (None, True): Weights(1.19, 0.0, 0.08, 0.72),
    (0, False): Weights(-0.23, 0.83, 0.36, 0.0),
    (0, True): Weights(0.68, 0.72, 0.13, 0.49),
    (1, False): Weights(-0.24, 0.82, 0.39, 0.0),
    (1, True): Weights(0.63, 0.7, 0.16, 0.45),
    (2, False): Weights(-0.26, 0.84, 0.37, 0.0),
    (2, True): Weights(0.53, 0.73, 0.16, 0.42),
    (3, False): Weights(-0.43, 0.79, 0.3, 0.0),
    (3, True): Weights(0.37, 0.7, 0.12, 0.42),
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


WEIGHING: Final = Weighing(ROWS, Curve(sure=1.5, unsure=1.05, doubtful=-1.45, broken_off=-4.2))
"""Of the curves that cost the turns of the part `choose` least (`just fit-turns`) one that costs those of `fit` little,
too."""


def log_odds(probability: float, least: float = 0.005) -> float:
    """Of a cue, none of which is surer than `least` allows."""
    bounded = min(max(probability, least), 1 - least)
    return math.log(bounded / (1 - bounded))
