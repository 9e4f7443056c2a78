"""Whether the agent has just asked something, as far as the caller has heard it by now. Pure.

What is being heard is known to a session by when it began, and by the pauses that it has itself caused; so a place in
it is right to a few hundredths of a second, and wrong where the voice falls behind.
"""

import re

import attrs

BEFORE, AFTER = 0.5, 1.0
"""Seconds before the end of a question from which on it is answered, and after it for which a word is its answer."""
_END = re.compile(r"""[?؟][\s"')\]”’»]*(?=\s|$)|？""")


@attrs.define
class Questions:
    """Where the questions of the utterances lie. All times are seconds, `at` those of one clock."""

    _ends: dict[int, list[float]] = attrs.field(factory=dict, init=False)
    """Of questions, in seconds of the utterance's sound."""
    _begin: dict[int, float] = attrs.field(factory=dict, init=False)
    """Where the clause begins whose sound is coming."""
    _lasts: dict[int, float] = attrs.field(factory=dict, init=False)
    """Of the sound of utterances that the caller has not heard to their end."""
    _audible: int = attrs.field(default=0, init=False)
    _began: float = attrs.field(default=0.0, init=False)
    """When the utterance that is heard would have begun without its pauses."""
    _paused: float | None = attrs.field(default=None, init=False)

    def sounded(self, utterance: int, seconds: float) -> None:
        """So much more of an utterance's sound is there."""
        self._lasts[utterance] = self._lasts.get(utterance, 0.0) + seconds

    def said(self, utterance: int, text: str) -> None:
        """All sound of a clause of these words is there. Within it time goes by letters."""
        begin, end = self._begin.get(utterance, 0.0), self._lasts.get(utterance, 0.0)
        found = [begin + (end - begin) * mark.end() / len(text) for mark in _END.finditer(text)]
        self._ends.setdefault(utterance, []).extend(found)
        self._begin[utterance] = end

    def started(self, utterance: int, at: float) -> None:
        """The caller begins to hear it."""
        self._audible, self._began, self._paused = utterance, at, None

    def paused(self, at: float) -> None:
        """It pauses."""
        if self._paused is None:
            self._paused = at

    def went_on(self, at: float) -> None:
        """It goes on, if it has paused."""
        if self._paused is not None:
            self._began += at - self._paused
            self._paused = None

    def heard(self, utterance: int) -> None:
        """Nothing more of it is heard."""
        self._ends.pop(utterance, None)
        self._begin.pop(utterance, None)
        self._lasts.pop(utterance, None)

    def asked(self, at: float) -> bool:
        """Whether a question ends about now, or has a moment ago."""
        place = (at if self._paused is None else self._paused) - self._began
        return any(end - BEFORE <= place <= end + AFTER for end in self._ends.get(self._audible, ()))
