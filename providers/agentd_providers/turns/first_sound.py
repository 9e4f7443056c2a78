"""Whether a caller's sound over the agent is worth its silence, before there are any words. Pure.

The agent pauses once a sound has lasted for `interrupt_ms`. Words come a tenth of a second after its end at the
earliest; but its first quarter to half of a second tells a cough, a hum or a lone "right" from the beginning of a
sentence (`pipeline.stages.SoundJudge`). Where it is likely nothing the agent goes on, and the turn is judged as ever:
by its words, or because it lasts.

Not to hear who begins to speak costs more than a silence for nothing. So it takes the more to go on the less of the
sound was heard, and the more often it is asked.
"""

import attrs

WEIGH_MS = (256.0, 320.0, 384.0, 416.0, 480.0, 544.0)
"""How long a sound has lasted when it is weighed; a pause in it is another occasion. Until the third it is soon enough
for an agent that has paused at 128 ms to have been silent for less than 300 ms."""
EARLY_MS = 384.0
EARLY, LATE, PAUSED = 0.93, 0.9, 0.9
"""How likely it has to be nothing: before `EARLY_MS`, from then on, and once it pauses. Chosen so that of the sentences
of the part `choose` one or two in a hundred are taken for nothing (tests/lab/bench_first_sounds.py)."""


@attrs.frozen
class Kinds:
    """How likely a sound is of each kind; together they are 1."""

    noise: float
    """No speech: a cough, a breath, a click."""
    backchannel: float
    """What is said while listening, and hums of who is about to say something."""
    turn: float
    """The beginning of anything else."""


def is_nothing(kinds: Kinds, sound_ms: float, *, paused: bool, asked: bool) -> bool:
    """Whether the agent goes on.

    Args:
        kinds: what the sound was weighed to be.
        sound_ms: how long it has lasted by then.
        paused: the caller has fallen silent.
        asked: it comes upon a question of the agent's: a "yes" is an answer there, and so is a "mhm".
    """
    needed = PAUSED if paused else EARLY if sound_ms < EARLY_MS else LATE
    return kinds.noise + (0.0 if asked else kinds.backchannel) >= needed


@attrs.define
class Suspect:
    """A sound over the agent: when it is to be weighed, and whether the agent went on because of what it was."""

    sound_ms: float
    """How long the sound has lasted, since it was heard to begin."""
    nothing: bool = attrs.field(default=False, init=False)
    _done: int = attrs.field(default=0, init=False)

    def due(self, window_ms: float, *, just_paused: bool) -> bool:
        """Whether it is to be weighed now, that it has lasted so much longer."""
        self.sound_ms += window_ms
        before = self._done
        while self._done < len(WEIGH_MS) and self.sound_ms >= WEIGH_MS[self._done]:
            self._done += 1
        return just_paused or self._done > before
