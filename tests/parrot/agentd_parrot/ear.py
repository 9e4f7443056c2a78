"""When a caller speaks, and when the turn is over: by loudness alone. Reads no clock: it is told the time."""

import attrs

from agentd.audio.level import rms_dbfs
from agentd.session_events import (
    CallerSpeechDismissed,
    CallerSpeechEnded,
    CallerSpeechStarted,
    CallerTakesTurn,
    SessionEvent,
)

SHORTEST_MS = 200
"""A sound that is shorter is a click."""
LONGEST_MS = 20_000
"""A caller who speaks for longer is answered all the same."""


@attrs.define
class Ear:
    """Hears one caller, whose audio is slin at `rate` Hz.

    A sound of `loud_dbfs` or more is the caller's voice; after `quiet_ms` without one the turn is over.
    """

    rate: int
    quiet_ms: int
    loud_dbfs: float
    heard: bytes = b""
    """The last turn that was complete, without the silence at its end."""
    _turn: bytearray = attrs.field(factory=bytearray, init=False)
    """The turn so far; empty while the caller is silent."""
    _spoken: int = attrs.field(default=0, init=False)
    """Bytes of it, up to the last loud sound."""

    def hear(self, pcm: bytes, at: float) -> list[SessionEvent]:
        """Take audio that came at second `at`; gives what is to be told of it."""
        loud = rms_dbfs(pcm) >= self.loud_dbfs
        events: list[SessionEvent] = []
        if not self._turn:
            if not loud:
                return events
            events.append(CallerSpeechStarted(at))
        self._turn += pcm
        if loud:
            was_speech = self._is_speech
            self._spoken = len(self._turn)
            if self._is_speech and not was_speech:
                events.append(CallerTakesTurn(at))
        quiet_ms = self._ms(len(self._turn) - self._spoken)
        if quiet_ms >= self.quiet_ms or self._ms(len(self._turn)) > LONGEST_MS:
            events.append(self._end(at, quiet_ms))
        return events

    def _end(self, at: float, quiet_ms: float) -> SessionEvent:
        was_speech = self._is_speech
        turn = bytes(self._turn[: self._spoken])
        self._turn.clear()
        self._spoken = 0
        if not was_speech:
            return CallerSpeechDismissed("too short to be speech")
        self.heard = turn
        return CallerSpeechEnded(at, last_speech_at=at - quiet_ms / 1000)

    @property
    def _is_speech(self) -> bool:
        return self._ms(self._spoken) >= SHORTEST_MS

    def _ms(self, size: int) -> float:
        """How long so many bytes are: a sample has two."""
        return size / (2 * self.rate) * 1000
