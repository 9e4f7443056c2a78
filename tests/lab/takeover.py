"""A vendor fails in mid-sentence: when the caller heard it last, a voice again, and the next agent's answer. Pure.

The vendor's voice is a tone of one pitch, so that what comes after it is known by its sound; the answer comes after the
hold message, whose length is known. Audio is 8 kHz slin as the caller heard it, times are seconds on its axis.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from .measure import speech_spans

RATE = 8000
TONE_HZ = 620.0
"""No voice of the fakes has this pitch: a hold message may be spoken by one of theirs."""
WINDOW = 160
"""Samples that are looked at together, and as many as a frame has."""
HOP = 40
PURE = 0.98
"""The share of a window's energy at the tone's pitch from which on it is the tone."""
LASTS = 0.1
"""Seconds that it goes on for; a vowel may be as pure for less."""
LOUD = 32768 * 10 ** (-45.0 / 20)
LOST = "the agent's session is lost"
"""What the daemon logs then."""


@attrs.frozen
class Takeover:
    """What the caller heard of one; None for what never came."""

    vendor_until: float
    """The end of the vendor's last sound."""
    voice_at: float | None
    answer_at: float | None

    @property
    def voice_after(self) -> float | None:
        """Seconds without a voice."""
        return None if self.voice_at is None else self.voice_at - self.vendor_until

    @property
    def answer_after(self) -> float | None:
        """Seconds until the answer."""
        return None if self.answer_at is None else self.answer_at - self.vendor_until


def vendors_voice(seconds: float) -> bytes:
    """What the vendor says: 8 kHz slin."""
    moments = np.arange(round(seconds * RATE)) / RATE
    return bytes((8000 * np.sin(2 * np.pi * TONE_HZ * moments)).astype("<i2").tobytes())


def tone_until(heard: bytes, hz: float = TONE_HZ) -> float:
    """The second at which the tone was heard last, to 5 ms. Raises ValueError where there is none."""
    samples = np.frombuffer(heard, "<i2").astype(np.float64)
    count = (len(samples) - WINDOW) // HOP + 1
    if count <= LASTS * RATE / HOP:
        raise ValueError("too little was heard")
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:count]
    phase = 2 * np.pi * hz / RATE * np.arange(WINDOW)
    base = np.linalg.qr(np.stack([np.cos(phase), np.sin(phase)], axis=1))[0]
    energy = np.sum(windows**2, axis=1)
    at_pitch = np.sum((windows @ base) ** 2, axis=1)
    pure = (at_pitch > PURE * energy) & (energy > WINDOW * LOUD**2)
    length = round(LASTS * RATE) // HOP
    lasting = np.convolve(pure, np.ones(length), "valid") > length - 0.5
    if not lasting.any():
        raise ValueError(f"no tone of {hz:g} Hz was heard")
    return float(((np.flatnonzero(lasting)[-1] + length - 1) * HOP + WINDOW) / RATE)


def takeover(heard: bytes, hold_seconds: float | None) -> Takeover:
    """What the caller heard after the tone; `hold_seconds`: of the hold message that was played, None without.

    An answer that follows the hold message at once begins with the first sound after its length. Raises ValueError
    where no tone was heard.
    """
    until = tone_until(heard)
    # What the hole is concealed with, and the fade of the tone itself, are of the tone.
    begin = round((until + WINDOW / RATE) * RATE)
    spans = [
        (begin / RATE + span.start, begin / RATE + span.end)
        for span in speech_spans(heard[2 * begin :], join_seconds=0.05)
    ]
    if not spans:
        return Takeover(until, None, None)
    voice_at = spans[0][0]
    if hold_seconds is None:
        return Takeover(until, voice_at, voice_at)
    over = voice_at + hold_seconds
    answer_at = next((max(start, over) for start, end in spans if end > over), None)
    return Takeover(until, voice_at, answer_at)


def hold_seconds(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """How much of a hold message was heard, by a daemon's log with transcripts: what was heard after a session was
    lost and is no part of the conversation. None where there was none."""
    spoken = {line["utterance"] for line in lines if line.get("event") == "agent says"}
    lost = next((number for number, line in enumerate(lines) if line.get("event") == LOST), len(lines))
    for line in lines[lost:]:
        if line.get("event") == "utterance heard" and line["utterance"] not in spoken:
            return float(line["heard_ms"]) / 1000
    return None
