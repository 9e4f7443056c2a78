"""How far Asterisk's queue is ahead of the caller's ear, known by marks and the clock. Pure: it is told the time.

Asterisk takes a frame out of its queue every 20 ms, by a clock of its own. A mark is reported when the frame behind it
is taken, so from then on it is known for each moment which frame is heard: one more every 20 ms. A report comes later
than what it tells of, never earlier; so what is taken for heard was heard, and at most one frame more. Where Asterisk's
clock is late, it is so only up to the next mark: no frame behind one that was not reported has been heard.
"""

from collections import deque
from math import floor, inf

import attrs

from agentd.media.leg import FRAME_SECONDS, LONGEST_LEAD

MARK_EVERY = LONGEST_LEAD
"""Frames from one mark to the next: of a full lead, one frame has a mark."""


@attrs.define(eq=False)
class Ahead:
    """The frames that were given, and which of them the caller has heard. Times in seconds, of one clock.

    Frames are numbered as they are given; those that were taken back give their numbers to the ones after them.
    """

    _given: int = attrs.field(default=0, init=False)
    _begun: int = attrs.field(default=0, init=False)
    """How many had begun to be heard at `_begun_at`, the time of the last report; inf: there has been none since the
    queue was empty last."""
    _begun_at: float = attrs.field(default=inf, init=False)
    _marks: deque[tuple[str, int]] = attrs.field(factory=deque, init=False)
    """Marks that were not reported, each with the number of the frame behind it."""
    _unmarked: int = attrs.field(default=MARK_EVERY, init=False)
    """Frames since the last mark."""
    _asked: int = attrs.field(default=0, init=False)
    """How many had been given when a report of a drained queue was asked for last."""
    _flushes: int = attrs.field(default=0, init=False)

    def frames(self, now: float) -> int:
        """How many of the frames that were given have not begun to be heard: the last ones."""
        heard = self._begun
        if now > self._begun_at:
            heard += floor((now - self._begun_at) / FRAME_SECONDS)
        before = self._marks[0][1] if self._marks else self._given
        return self._given - min(heard, before, self._given)

    def give(self, now: float) -> str:
        """A frame is given; returns the mark that goes before it, or an empty text."""
        if not self.frames(now):  # the queue is empty, and when it will take this frame out is not known
            self._begun, self._begun_at, self._unmarked = self._given, inf, MARK_EVERY
        mark = ""
        if self._unmarked >= MARK_EVERY:
            mark = f"{self._flushes}.{self._given}"
            self._marks.append((mark, self._given))
            self._unmarked = 0
        self._unmarked += 1
        self._given += 1
        return mark

    def reported(self, mark: str, now: float) -> None:
        """A mark is reported. One that nobody waits for is passed over: of before a flush, or made up."""
        for passed, (waiting, number) in enumerate(self._marks, start=1):
            if waiting == mark:
                self._begun, self._begun_at = number + 1, now
                for _ in range(passed):
                    self._marks.popleft()
                return

    def asked(self) -> None:
        """Asterisk is asked to report when its queue is drained."""
        self._asked = self._given

    def drained(self, now: float) -> None:
        """It reports that: what was given before it was asked is gone, whatever became of its marks."""
        while self._marks and self._marks[0][1] < self._asked:
            self._marks.popleft()
        if self._given - self.frames(now) < self._asked:
            self._begun, self._begun_at, self._unmarked = self._asked, inf, MARK_EVERY

    def take_back(self, now: float) -> int:
        """Forget the frames that have not begun to be heard; returns how many they were. If there are any, the queue
        has to be flushed before the next frame is sent."""
        count = self.frames(now)
        if count:
            self._given -= count
            self._begun, self._begun_at, self._unmarked = self._given, inf, MARK_EVERY
            self._marks.clear()
            self._asked = min(self._asked, self._given)
            self._flushes += 1
        return count
