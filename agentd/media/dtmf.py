"""DTMF that arrives twice counts once, and no faster than anybody presses keys.

A digit that the caller presses can reach agentd beside the audio (ARI's ChannelDtmfReceived) and, where the media leg
shares a bridge with the caller, with the audio as well (AudioSocket's kind 03). Which comes first is not fixed, and
either may be missing (the event socket may be down; older releases have no kind 03: agentd.asterisk_releases). Pure:
the caller gives the time.
"""

from collections import defaultdict, deque
from enum import StrEnum

import attrs

DIGITS = frozenset("0123456789*#ABCD")
AT_ONCE = 40
"""Digits that are taken however quickly they come: a machine dials a long number."""
PER_SECOND = 15.0
"""Digits a second in the long run. A digit is a tone of 40 ms or more and a pause of as much (ITU-T Q.24)."""


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

    What it takes and holds is bounded, whatever a peer sends: a flood of one call's digits is not the others' trouble.
    """

    window: float = 2.0
    _unpaired: defaultdict[tuple[DigitSource, str], deque[float]] = attrs.field(
        factory=lambda: defaultdict(deque), init=False
    )
    """When the reports came that have no partner, oldest first."""
    _allowance: float = attrs.field(default=AT_ONCE, init=False)
    _counted_at: float = attrs.field(default=0.0, init=False)

    def accept(self, source: DigitSource, digit: str, now: float) -> bool:
        """True if this report is a key press of its own; false for the second report of one, no digit, one too many."""
        if digit not in DIGITS:
            return False
        other = DigitSource.MEDIA if source is DigitSource.SIGNALLING else DigitSource.SIGNALLING
        if partners := self._recent(other, digit, now):
            partners.popleft()
            return False
        self._allowance = min(AT_ONCE, self._allowance + (now - self._counted_at) * PER_SECOND)
        self._counted_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        self._recent(source, digit, now).append(now)
        return True

    def _recent(self, source: DigitSource, digit: str, now: float) -> deque[float]:
        reports = self._unpaired[source, digit]
        while reports and now - reports[0] > self.window:
            reports.popleft()
        return reports
