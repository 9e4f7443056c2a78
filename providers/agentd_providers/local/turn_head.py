"""Whether a turn is complete, by what Smart Turn's encoder has heard of it: a row of weights for each look.

Smart Turn itself was taught on the end of turns, and says of any silence of half a second that the turn is complete.
The weights were fitted to turns that were complete and others that went on, each at the silences at which it is asked
here; so one look can follow the other. They weigh the encoder's numbers and what Smart Turn says, as log-odds.

The file beside this module is written by `just fit-turns`, which tells what it was fitted to.
"""

import math
from functools import cache
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from agentd_providers.turns.weights import log_odds

FILE: Final = Path(__file__).with_name("turn_head.npz")
LEAST: Final = 0.002
"""Neither Smart Turn nor a look is surer than this."""

Floats = npt.NDArray[np.float32]


@attrs.frozen(eq=False)
class Head:
    """The weights: `looks` rows for `pooled` numbers."""

    weights: Floats
    """Shape (looks, pooled)."""
    smart: Floats
    """Of what Smart Turn says: shape (looks,)."""
    bias: Floats
    """Shape (looks,)."""

    def complete(self, smart: float, pooled: Floats, look: int) -> float:
        """See `complete`. Looks beyond the last are judged as the last."""
        row = min(look, len(self.bias) - 1)
        odds = float(self.bias[row] + self.smart[row] * log_odds(smart, LEAST) + self.weights[row] @ pooled)
        return min(max(1 / (1 + math.exp(-min(max(odds, -50.0), 50.0))), LEAST), 1 - LEAST)


def complete(smart: float, pooled: Floats, look: int) -> float:
    """The probability that the turn is complete.

    Args:
        smart: what Smart Turn says at this look.
        pooled: what its encoder comes to (agentd_providers.local.smart_turn.hear).
        look: counts the looks at one pause, from 0 (agentd_providers.turns.settings.LOOKS_MS).
    """
    return packaged().complete(smart, pooled, look)


@cache
def packaged() -> Head:
    """The weights that come with this package."""
    with np.load(FILE, allow_pickle=False) as kept:
        return Head(*(kept[name].astype(np.float32) for name in ("weights", "smart", "bias")))
