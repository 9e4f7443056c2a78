"""The audio of a Realtime session: between the line's slin and the session's format, and the clock it counts by. Pure.

The formats: https://platform.openai.com/docs/api-reference/realtime-client-events/session (audio/pcm is 24 kHz, 16
bits, little-endian, mono; audio/pcmu and audio/pcma are 8 kHz).
"""

from bisect import bisect_left
from collections import deque

import attrs

from agentd.audio.g711 import alaw_to_slin, slin_to_alaw, slin_to_ulaw, ulaw_to_slin
from agentd.audio.resample import Resampler
from agentd_providers.openai.realtime.settings import RealtimeAudioFormat

G711_RATE, PCM_RATE = 8000, 24000
REMEMBERED = 3000
"""Pieces of audio whose time is known: a minute of frames of 20 ms."""


@attrs.define(eq=False)
class RealtimeAudio:
    """One session's audio, both ways. `line_rate` (Hz) is that of the caller's."""

    format: RealtimeAudioFormat
    line_rate: int
    _upwards: Resampler = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._upwards = Resampler(self.line_rate, self.rate)

    @property
    def rate(self) -> int:
        """Of the session's audio, in Hz."""
        return PCM_RATE if self.format is RealtimeAudioFormat.PCM16 else G711_RATE

    def encode(self, slin: bytes) -> bytes:
        """Caller audio in the session's format, all that is ready."""
        slin = self._upwards.feed(slin)
        match self.format:
            case RealtimeAudioFormat.G711_ULAW:
                return slin_to_ulaw(slin)
            case RealtimeAudioFormat.G711_ALAW:
                return slin_to_alaw(slin)
            case RealtimeAudioFormat.PCM16:
                return slin

    def decode(self, audio: bytes) -> bytes:
        """The session's audio as slin at `rate`; of pcm16 a sample may be cut in two."""
        match self.format:
            case RealtimeAudioFormat.G711_ULAW:
                return ulaw_to_slin(audio)
            case RealtimeAudioFormat.G711_ALAW:
                return alaw_to_slin(audio)
            case RealtimeAudioFormat.PCM16:
                return audio

    def seconds(self, audio: bytes) -> float:
        """How long a piece of the session's audio lasts."""
        return len(audio) / self.rate / (2 if self.format is RealtimeAudioFormat.PCM16 else 1)


@attrs.define(eq=False)
class SentAudio:
    """When the audio that was sent had arrived: the server counts what it gets, not the time that passes."""

    seconds: float = 0.0
    """All that was sent."""
    _ends: deque[float] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    _times: deque[float] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED), init=False)

    def note(self, seconds: float, at: float) -> None:
        """A piece was sent that had arrived, with its last sample, at monotonic second `at`."""
        self.seconds += seconds
        self._ends.append(self.seconds)
        self._times.append(at)

    def time_of(self, seconds: float) -> float | None:
        """The monotonic second of a moment of the audio; None where nothing was sent yet. A moment that was not sent
        yet counts as the last one that was; one that is not remembered any more is reckoned from the first that is."""
        if not self._ends:
            return None
        index = min(bisect_left(self._ends, seconds), len(self._ends) - 1)
        return self._times[index] - max(self._ends[index] - seconds, 0.0)
