"""Whether a caller's sound over the agent is worth its silence, before there are any words. Pure.

Words come a tenth of a second after a sound's end at the earliest; but its first quarter to half of a second tells a
cough, a hum or a lone "right" from the beginning of a sentence (`pipeline.stages.SoundJudge`). So a sound is weighed
with every window of it, and the turn is judged as ever: by its words, or because it lasts.

    interrupt_ms    the agent, which speaks quietly by now, pauses; unless the sound may well be nothing: then it waits,
                    for 96 ms at most
    until LAST_MS   where it is likely nothing the agent goes on; and pauses again where it is a turn after all

Not to hear who begins to speak costs more than a silence for nothing. So it takes the more to go on the less of the
sound was heard, and a sound is believed to be nothing once at most.
"""

from collections.abc import Sequence
from enum import Enum, auto

import attrs

FIRST_MS, LAST_MS = 128.0, 544.0
"""How long a sound has lasted when it is weighed for the first time, and for the last."""
WAITS = ((0.0, 0.25), (192.0, 0.75), (224.0, 2.0))
"""From what length on how likely a sound has to be nothing, for the agent to wait before it pauses."""
GOES_ON = ((0.0, 2.0), (128.0, 0.97), (192.0, 0.94), (256.0, 0.88), (384.0, 0.87), (448.0, 0.77))
"""The same, for the agent to go on. It is the longest sounds that it has waited for with its pause."""
GOES_ON_ENDED = 0.75
"""How likely it has to be nothing once nothing is heard of it for the moment, for the agent to go on."""
SILENT_MS, SILENT = 288.0, 0.95
"""Once the agent has been silent for so long, little is won: it has to be so likely."""
AFTER_ALL = 0.35
"""How likely what was taken for nothing has to be a turn, for the agent to pause again."""
# All were chosen by the part `choose`: of the sentences one in forty may be taken for nothing.


@attrs.frozen
class Kinds:
    """How likely a sound is of each kind; together they are 1."""

    noise: float
    """No speech: a cough, a breath, a click."""
    backchannel: float
    """What is said while listening, and hums of who is about to say something."""
    turn: float
    """The beginning of anything else."""

    def nothing(self, *, asked: bool) -> float:
        """How likely it is no turn. `asked`: it comes upon a question of the agent's: a "yes" is an answer there, and
        so is a "mhm"."""
        return self.noise + (0.0 if asked else self.backchannel)


class Verdict(Enum):
    """What the agent is to do about a sound that was weighed."""

    PAUSE = auto()
    GO_ON = auto()
    AS_BEFORE = auto()


def at_length(steps: Sequence[tuple[float, float]], sound_ms: float) -> float:
    """What holds from the last of the lengths on that the sound has reached."""
    return next(share for length, share in reversed(steps) if sound_ms >= length)


@attrs.define
class Suspect:
    """A sound over the agent: when it is to be weighed, and whether the agent goes on because of what it was."""

    sound_ms: float
    """How long the sound has lasted, since it was heard to begin."""
    nothing: bool = attrs.field(default=False, init=False)
    """It is taken for nothing."""
    mistaken: bool = attrs.field(default=False, init=False)
    """It was, and is a turn after all."""
    _paused_ms: float | None = attrs.field(default=None, init=False)
    """How long it had lasted when the agent paused."""

    def due(self, window_ms: float, *, just_paused: bool) -> bool:
        """Whether it is to be weighed now, that it has lasted so much longer."""
        self.sound_ms += window_ms
        return not self.mistaken and (just_paused or FIRST_MS <= self.sound_ms <= LAST_MS)

    def weigh(self, kinds: Kinds, *, ended: bool, asked: bool, silent: bool) -> Verdict:
        """Take what it sounds like now. `ended`: for the moment nothing is heard of it; `asked`: see Kinds.nothing;
        `silent`: the agent has paused for it."""
        share = kinds.nothing(asked=asked)
        if silent and self._paused_ms is None:
            self._paused_ms = self.sound_ms
        if self.nothing:
            if ended or 1.0 - share < AFTER_ALL:
                return Verdict.AS_BEFORE
            self.nothing, self.mistaken = False, True
            return Verdict.PAUSE
        if not self.mistaken and share >= self._needed(ended):
            self.nothing = True
            return Verdict.GO_ON
        if silent or share >= at_length(WAITS, self.sound_ms):
            return Verdict.AS_BEFORE
        self._paused_ms = self.sound_ms
        return Verdict.PAUSE

    def _needed(self, ended: bool) -> float:
        """How likely it has to be nothing, for the agent to go on."""
        needed = GOES_ON_ENDED if ended else at_length(GOES_ON, self.sound_ms)
        long = self._paused_ms is not None and self.sound_ms - self._paused_ms >= SILENT_MS
        return max(needed, SILENT) if long else needed
