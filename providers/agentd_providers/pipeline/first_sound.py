"""The audio of a sound's beginning as a SoundJudge should hear it, and a little of what was before it. Pure."""

import attrs

BEFORE_MS, LONGEST_MS = 160, 700
"""Kept from before the sound was heard to begin, which is after 64 ms of speech; and of it."""


@attrs.define
class FirstSound:
    """slin at `rate` Hz. What comes after the first `LONGEST_MS` is not kept."""

    rate: int
    begun: int = attrs.field(default=0, init=False)
    """The byte at which the sound was heard to begin."""
    _before: bytearray = attrs.field(factory=bytearray, init=False)
    _pcm: bytearray = attrs.field(factory=bytearray, init=False)

    @property
    def pcm(self) -> bytes:
        """The sound up to now."""
        return bytes(self._pcm)

    def feed(self, pcm: bytes) -> None:
        """Take more of the line."""
        self._before += pcm
        del self._before[: -self._bytes(BEFORE_MS)]
        room = self.begun + self._bytes(LONGEST_MS) - len(self._pcm)
        self._pcm += pcm[: max(room, 0)]

    def begin(self) -> None:
        """With what was fed last, a sound was heard to begin."""
        self._pcm = bytearray(self._before)
        self.begun = len(self._pcm)

    def _bytes(self, milliseconds: int) -> int:
        return milliseconds * self.rate // 1000 * 2
