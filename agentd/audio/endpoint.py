"""When the caller's turn begins and ends, from a stream of speech probabilities. Pure.

A turn begins after `start_ms` of speech and ends after `stop_ms` without, or at `max_ms`. Terms as in endpointing
literature; a gap shorter than `stop_ms` belongs to the turn.
"""

from enum import Enum, auto

import attrs


class Boundary(Enum):
    """What one window of audio decided."""

    NONE = auto()
    STARTED = auto()
    ENDED = auto()


@attrs.define
class Endpointer:
    """Feed it one probability per window, in order."""

    start_ms: float
    stop_ms: float
    max_ms: float
    threshold: float = 0.5
    release: float = 0.15
    """A turn goes on while the probability is above threshold - release: hysteresis against fluttering. A low
    threshold is released at its half: below 0 there is no probability, and the turn would never end."""
    in_turn: bool = attrs.field(default=False, init=False)
    _speech_ms: float = attrs.field(default=0.0, init=False)
    _silence_ms: float = attrs.field(default=0.0, init=False)
    _turn_ms: float = attrs.field(default=0.0, init=False)

    @property
    def silence_ms(self) -> float:
        """How long the caller has been silent within the turn, in ms."""
        return self._silence_ms

    def feed(self, probability: float, window_ms: float) -> Boundary:
        """Take the probability of speech in the next `window_ms` of audio."""
        if not self.in_turn:
            if probability < self.threshold:
                self._speech_ms = max(0.0, self._speech_ms - window_ms)  # one dip does not undo an onset
                return Boundary.NONE
            self._speech_ms += window_ms
            if self._speech_ms < self.start_ms:
                return Boundary.NONE
            self.in_turn, self._turn_ms, self._silence_ms = True, self._speech_ms, 0.0
            return Boundary.STARTED
        self._turn_ms += window_ms
        if probability >= max(self.threshold - self.release, self.threshold / 2):
            self._silence_ms = 0.0
        else:
            self._silence_ms += window_ms
        if self._silence_ms < self.stop_ms and self._turn_ms < self.max_ms:
            return Boundary.NONE
        self.in_turn, self._speech_ms = False, 0.0
        return Boundary.ENDED
