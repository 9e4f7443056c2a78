"""What became of one turn of a caller, read off what the caller heard. Pure; seconds on the call's axis."""

from collections.abc import Sequence

import attrs

from .measure import Span


@attrs.frozen
class Spoken:
    """A turn as the caller spoke it."""

    span: Span
    """From its first sound to its last."""
    pause: Span | None = None
    """Where the caller hesitated in it."""


@attrs.frozen
class Reaction:
    """How the agent took a turn."""

    answered_at: float | None
    """The first sound of the answer: the first onset after the turn's real end; None if none came."""
    delay: float | None
    """Seconds from the caller's last sound to it."""
    cut_off: bool
    """Something was heard before the caller had resumed after the hesitation."""
    early: bool
    """Something was first heard between that and the turn's end, while the caller spoke."""

    @property
    def clean(self) -> bool:
        """The agent let the caller finish, then answered."""
        return self.delay is not None and not self.cut_off and not self.early


def react(spoken: Spoken, heard: Sequence[Span], until: float, offset: float = 0.0) -> Reaction:
    """Judge a turn by the sounds that were `heard`, on a line that was silent before the turn.

    `until` is where the caller's next turn begins. `offset` is what the lab itself adds (`calibrate_echo`) and is
    taken off. What was heard already when the caller began belongs to the turn before.
    """
    onsets = [onset for span in heard if spoken.span.start <= (onset := span.start - offset) < until]
    resumed = spoken.span.start if spoken.pause is None else spoken.pause.end
    answered_at = next((onset for onset in onsets if onset >= spoken.span.end), None)
    return Reaction(
        answered_at,
        None if answered_at is None else answered_at - spoken.span.end,
        cut_off=any(onset < resumed for onset in onsets),
        early=any(resumed <= onset < spoken.span.end for onset in onsets),
    )
