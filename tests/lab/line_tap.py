"""What agentd writes to an AudioSocket line, as a wire tap sees it: when sound begins. Pure."""

import bisect
from collections.abc import Sequence

import attrs
import numpy as np

from agentd.audiosocket.frames import AudioFrame, FrameParser

LOUD = 200
"""A sample this far from zero is no silence."""
QUIET_FRAMES = 5
"""Frames of silence before which a loud one is no onset."""


@attrs.define(eq=False)
class LineTap:
    """One line's. `onsets` are the seconds at which frames came with which sound began, in order."""

    onsets: list[float] = attrs.field(factory=list, init=False)
    quiet: int = attrs.field(default=QUIET_FRAMES, init=False)
    """Silent frames since the last sound."""
    _parser: FrameParser = attrs.field(factory=FrameParser, init=False)

    def hear(self, data: bytes, at: float) -> None:
        """Take bytes that were written at second `at`. Raises agentd.errors.MediaProtocolError."""
        for frame in self._parser.feed(data):
            if not isinstance(frame, AudioFrame):
                continue
            if not np.any(np.abs(np.frombuffer(frame.payload, "<i2").astype(np.int32)) >= LOUD):
                self.quiet += 1
                continue
            if self.quiet >= QUIET_FRAMES:
                self.onsets.append(at)
            self.quiet = 0


def overheads(sent: Sequence[float], onsets: Sequence[float], longest: float = 5.0) -> list[float | None]:
    """Seconds from each moment at which a vendor `sent` the first audio of an answer to the onset on the line.

    None where no sound began before the next answer, or within `longest` seconds. Both are in order.
    """
    found: list[float | None] = []
    for number, at in enumerate(sent):
        until = min(at + longest, sent[number + 1] if number + 1 < len(sent) else float("inf"))
        index = bisect.bisect_left(onsets, at)
        onset = onsets[index] if index < len(onsets) else float("inf")
        found.append(onset - at if onset < until else None)
    return found
