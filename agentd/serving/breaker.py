"""A circuit breaker for one agent: an agent that is down is not asked by each call anew. Pure: told the time, no clock.

Closed: calls are let through. Open: after failures in a row, none is, for a cool-down that grows with every failed
trial. Half-open: the cool-down is over, and one call may try; its success closes the circuit, its failure opens it
again. (Nygard, "Release It!", chapter 5.)
"""

from enum import StrEnum

import attrs

from agentd import deadlines

FAILURES = 3
"""Failures in a row that open the circuit."""
FIRST_COOL_DOWN, LONGEST_COOL_DOWN = 5.0, 120.0
REJECTED_COOL_DOWN = 60.0
"""Seconds after a refusal of what we are or ask: the next attempt will fare no better until somebody mends it."""
TRIAL_DEADLINE = deadlines.BREAKER_TRIAL.seconds


class Circuit(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@attrs.define(eq=False)
class CircuitBreaker:
    """One agent's breaker. Times are seconds of one monotonic clock."""

    reason: str = attrs.field(default="", init=False)
    """Why it is not closed."""
    _failures: int = attrs.field(default=0, init=False)
    _opened_at: float = attrs.field(default=0.0, init=False)
    _cool_down: float = attrs.field(default=0.0, init=False)
    _trial_at: float | None = attrs.field(default=None, init=False)

    def circuit(self, now: float) -> Circuit:
        """Where it stands at second `now`."""
        if not self._cool_down:
            return Circuit.CLOSED
        return Circuit.OPEN if now < self._opened_at + self._cool_down else Circuit.HALF_OPEN

    def allows(self, now: float) -> bool:
        """Whether a call may try the agent. While half-open one at a time may: who is let through must try."""
        match self.circuit(now):
            case Circuit.CLOSED:
                return True
            case Circuit.OPEN:
                return False
            case Circuit.HALF_OPEN:
                if self._trial_at is not None and now < self._trial_at + TRIAL_DEADLINE:
                    return False
                self._trial_at = now
                return True

    def succeeded(self) -> None:
        """The agent serves: calls are let through again."""
        self._failures, self._cool_down, self._trial_at, self.reason = 0, 0.0, None, ""

    def failed(self, now: float, reason: str, *, rejected: bool = False) -> None:
        """The agent could not be opened, or failed in a call. `rejected`: it refused what we are or ask of it."""
        self._failures += 1
        self.reason = reason
        circuit = self.circuit(now)
        if rejected:
            self._open(now, max(REJECTED_COOL_DOWN, self._cool_down))
        elif circuit is Circuit.HALF_OPEN:
            self._open(now, min(self._cool_down * 2, LONGEST_COOL_DOWN))
        elif circuit is Circuit.CLOSED and self._failures >= FAILURES:
            self._open(now, FIRST_COOL_DOWN)
        # Open already: this is a call that had begun before, and tells nothing new.

    def _open(self, now: float, cool_down: float) -> None:
        self._opened_at, self._cool_down, self._trial_at = now, cool_down, None
