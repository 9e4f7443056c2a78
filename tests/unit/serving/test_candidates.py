"""In which order agents are asked to take a call."""

import pytest

from agentd.agent import Readiness
from agentd.serving.breaker import FAILURES, FIRST_COOL_DOWN, Circuit
from agentd.serving.candidates import Candidate, promising
from tests.shell.fakes import FakeAgent


def candidate(name: str, *, ready: bool = True, failures: int = 0) -> Candidate:
    made = Candidate(name, FakeAgent(readiness=Readiness(ready)))
    for _ in range(failures):
        made.breaker.failed(0.0, "down")
    return made


def names(candidates: list[Candidate], now: float = 1.0) -> list[str]:
    return [candidate.name for candidate in promising(candidates, now)]


def test_they_are_asked_in_their_order() -> None:
    assert names([candidate("b"), candidate("a"), candidate("c")]) == ["b", "a", "c"]


@pytest.mark.parametrize("doubt", [{"ready": False}, {"failures": FAILURES}], ids=["not ready", "open circuit"])
def test_one_that_is_in_doubt_is_asked_last_since_silence_is_worse(doubt: dict[str, int]) -> None:
    assert names([candidate("doubtful", **doubt), candidate("a"), candidate("b")]) == ["a", "b", "doubtful"]
    assert names([candidate("doubtful", **doubt)]) == ["doubtful"]


def test_those_in_doubt_keep_their_order() -> None:
    doubtful = [candidate("a", ready=False), candidate("b", failures=FAILURES), candidate("c")]
    assert names(doubtful) == ["c", "a", "b"]


def test_a_circuit_that_is_half_open_lets_one_call_try_in_its_turn() -> None:
    tried = [candidate("a", failures=FAILURES), candidate("b")]
    assert names(tried, FIRST_COOL_DOWN) == ["a", "b"]
    assert names(tried, FIRST_COOL_DOWN) == ["b", "a"], "another call, at the same time"


def test_the_one_trial_is_not_used_up_by_a_call_that_needs_nobody_more() -> None:
    waiting = candidate("b", failures=FAILURES)
    assert next(promising([candidate("a"), waiting], FIRST_COOL_DOWN)).name == "a"
    assert waiting.breaker.circuit(FIRST_COOL_DOWN) is Circuit.HALF_OPEN
    assert waiting.breaker.allows(FIRST_COOL_DOWN)


def test_the_trial_of_one_that_is_not_ready_is_not_used_up() -> None:
    waiting = candidate("a", ready=False, failures=FAILURES)
    assert names([waiting], FIRST_COOL_DOWN) == ["a"]
    assert waiting.breaker.allows(FIRST_COOL_DOWN)
