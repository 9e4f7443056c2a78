"""A circuit breaker: an agent that is down is not asked by each call anew."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentd.serving.breaker import (
    FAILURES,
    FIRST_COOL_DOWN,
    LONGEST_COOL_DOWN,
    REJECTED_COOL_DOWN,
    TRIAL_DEADLINE,
    Circuit,
    CircuitBreaker,
)


def broken(failures: int = FAILURES) -> CircuitBreaker:
    """A breaker that was told of so many failures, all of them at second 0."""
    breaker = CircuitBreaker()
    for _ in range(failures):
        breaker.failed(0.0, "no route")
    return breaker


@pytest.mark.parametrize(
    ("failures", "second", "circuit"),
    [
        (0, 0.0, Circuit.CLOSED),
        (FAILURES - 1, 0.0, Circuit.CLOSED),
        (FAILURES, 0.0, Circuit.OPEN),
        (FAILURES, FIRST_COOL_DOWN - 0.1, Circuit.OPEN),
        (FAILURES, FIRST_COOL_DOWN, Circuit.HALF_OPEN),
        (FAILURES, 1e6, Circuit.HALF_OPEN),
        (FAILURES + 100, FIRST_COOL_DOWN - 0.1, Circuit.OPEN),
        (FAILURES + 100, FIRST_COOL_DOWN, Circuit.HALF_OPEN),
    ],
)
def test_where_it_stands(failures: int, second: float, circuit: Circuit) -> None:
    assert broken(failures).circuit(second) is circuit


def test_closed_lets_everybody_through_and_open_nobody() -> None:
    closed, open_ = broken(0), broken()
    assert all(closed.allows(0.0) for _ in range(5))
    assert not any(open_.allows(1.0) for _ in range(5))


def test_half_open_lets_one_call_try() -> None:
    breaker = broken()
    assert [breaker.allows(FIRST_COOL_DOWN) for _ in range(3)] == [True, False, False]


def test_to_ask_where_it_stands_is_no_trial() -> None:
    breaker = broken()
    assert breaker.circuit(FIRST_COOL_DOWN) is Circuit.HALF_OPEN
    assert breaker.allows(FIRST_COOL_DOWN)


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = broken()
    breaker.allows(FIRST_COOL_DOWN)
    breaker.succeeded()
    assert breaker.circuit(FIRST_COOL_DOWN) is Circuit.CLOSED
    assert breaker.reason == ""
    breaker.failed(FIRST_COOL_DOWN, "once")
    assert breaker.allows(FIRST_COOL_DOWN), "it begins to count anew"


def test_a_trial_that_fails_opens_it_for_longer() -> None:
    breaker = broken()
    breaker.allows(FIRST_COOL_DOWN)
    breaker.failed(FIRST_COOL_DOWN, "still down")
    assert not breaker.allows(3 * FIRST_COOL_DOWN - 0.1)
    assert breaker.allows(3 * FIRST_COOL_DOWN)
    assert breaker.reason == "still down"


def test_calls_that_fail_together_are_one_outage() -> None:
    breaker = broken()
    for _ in range(10):
        breaker.failed(1.0, "a call from before")
    assert breaker.circuit(FIRST_COOL_DOWN) is Circuit.HALF_OPEN


def test_trials_that_fail_lengthen_it_to_a_bound() -> None:
    breaker, now, lengths = broken(), 0.0, []
    for _ in range(8):
        began = now
        while breaker.circuit(now) is Circuit.OPEN:
            now += 0.5
        lengths.append(now - began)
        breaker.allows(now)
        breaker.failed(now, "still down")
    assert lengths == sorted(lengths)
    assert lengths[-1] == LONGEST_COOL_DOWN


def test_a_trial_whose_outcome_is_never_told_is_forgotten() -> None:
    breaker = broken()
    assert breaker.allows(FIRST_COOL_DOWN)
    assert not breaker.allows(FIRST_COOL_DOWN + TRIAL_DEADLINE - 0.1)
    assert breaker.allows(FIRST_COOL_DOWN + TRIAL_DEADLINE)


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker()
    for _ in range(10):
        breaker.failed(0.0, "a break")
        breaker.failed(0.0, "a break")
        breaker.succeeded()
    assert breaker.circuit(0.0) is Circuit.CLOSED


def test_one_refusal_opens_it_at_once_and_for_long() -> None:
    breaker = CircuitBreaker()
    breaker.failed(0.0, "bad key", rejected=True)
    assert breaker.circuit(REJECTED_COOL_DOWN - 0.1) is Circuit.OPEN
    assert breaker.circuit(REJECTED_COOL_DOWN) is Circuit.HALF_OPEN


def test_a_refusal_shortens_no_cool_down() -> None:
    breaker, now = broken(), 0.0
    for _ in range(8):  # trials that fail
        now += LONGEST_COOL_DOWN
        breaker.allows(now)
        breaker.failed(now, "still down")
    breaker.failed(now, "bad key", rejected=True)
    assert breaker.circuit(now + LONGEST_COOL_DOWN - 0.1) is Circuit.OPEN


class Use(RuleBasedStateMachine):
    """Calls that ask, and tell what came of it, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker()
        self.now = 0.0
        self.trial_at: float | None = None
        """When the one call that may try was let through; None: there is none."""
        self.failed_at = 0.0
        self.cool_down = 0.0
        self.in_a_row = 0

    @rule(seconds=st.floats(0.0, 200.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_asks(self) -> None:
        circuit = self.breaker.circuit(self.now)
        allowed = self.breaker.allows(self.now)
        if circuit is not Circuit.HALF_OPEN:
            assert allowed is (circuit is Circuit.CLOSED)
            return
        running = self.trial_at is not None and self.now < self.trial_at + TRIAL_DEADLINE
        assert allowed is not running, "never two trials at once, and always one"
        if allowed:
            self.trial_at = self.now

    @rule(rejected=st.booleans())
    def a_call_fails(self, rejected: bool) -> None:
        before, circuit = self.cool_down, self.breaker.circuit(self.now)
        self.breaker.failed(self.now, "down", rejected=rejected)
        self.in_a_row += 1
        if circuit is Circuit.OPEN and not rejected:
            return  # the call had begun before
        self.trial_at, self.failed_at = None, self.now
        self.cool_down = self.measured()
        assert before <= self.cool_down <= LONGEST_COOL_DOWN, "it grows, and is bounded"
        assert (self.cool_down > 0) is (before > 0 or rejected or self.in_a_row >= FAILURES)

    def measured(self) -> float:
        """How long nobody is let through from now on, in seconds."""
        if self.breaker.circuit(self.now) is Circuit.CLOSED:
            return 0.0
        lengths = (FIRST_COOL_DOWN * 2**n for n in range(20))
        known = sorted({min(length, LONGEST_COOL_DOWN) for length in (*lengths, REJECTED_COOL_DOWN)})
        return next(length for length in known if self.breaker.circuit(self.now + length + 1e-6) is Circuit.HALF_OPEN)

    @rule()
    def a_call_succeeds(self) -> None:
        self.breaker.succeeded()
        self.trial_at, self.cool_down, self.in_a_row = None, 0.0, 0
        assert self.breaker.circuit(self.now) is Circuit.CLOSED

    @precondition(lambda self: self.cool_down > 0)
    @invariant()
    def there_is_a_reason_while_it_is_not_closed(self) -> None:
        assert self.breaker.reason == "down"
        over = self.now >= self.failed_at + self.cool_down
        assert self.breaker.circuit(self.now) is (Circuit.HALF_OPEN if over else Circuit.OPEN)


TestUse = Use.TestCase
TestUse.settings = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
