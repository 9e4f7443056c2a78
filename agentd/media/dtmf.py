"""DTMF that arrives twice counts once.

A digit that the caller presses can reach agentd beside the audio (ARI's ChannelDtmfReceived) and, where the media leg
shares a bridge with the caller, with the audio as well (AudioSocket's kind 03). Which comes first is not fixed, and
either may be missing (the event socket may be down; before Asterisk 22.4 there is no kind 03). Pure: the caller gives
the time.
"""

from enum import StrEnum

import attrs

DIGITS = frozenset("0123456789*#ABCD")


class DigitSource(StrEnum):
    """Where a digit was told: with the caller's audio, or beside it."""

    SIGNALLING = "signalling"
    MEDIA = "media"


@attrs.define
class DigitFilter:
    """Pairs the two reports of one key press.

    A report is the echo of an earlier one if it names the same digit, comes from the *other* source, and that
    earlier report has no partner yet and is at most `window` seconds old. So "55" pressed quickly stays two
    digits, however the four reports interleave.
    """

    window: float = 2.0
    _unpaired: list[tuple[DigitSource, str, float]] = attrs.field(factory=list, init=False)

    def accept(self, source: DigitSource, digit: str, now: float) -> bool:
        """True if this report is a key press of its own; false for the second report of one, or no digit."""
        if digit not in DIGITS:
            return False
        self._unpaired = [seen for seen in self._unpaired if now - seen[2] <= self.window]
        for index, (seen_source, seen_digit, _at) in enumerate(self._unpaired):
            if seen_source is not source and seen_digit == digit:
                del self._unpaired[index]
                return False
        self._unpaired.append((source, digit, now))
        return True
