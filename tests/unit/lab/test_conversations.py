"""How many conversations a host holds is told by the p95 of all turns of a step; each caller sees its own lines."""

from typing import Any

import pytest

from tests.lab.conversations import Switchboard, judged, verdict
from tests.lab.daemon import Daemon


def turns(*delays: int | None, **fields: bool) -> list[dict[str, Any]]:
    return [{"delay_ms": delay, "early": False, "cut_off": False, **fields} for delay in delays]


def test_a_step_is_held_whose_p95_is_within_the_limit() -> None:
    found = judged(2, turns(*[500] * 19, 1200))
    assert found["held"] and found["response_ms"] == {"p50": 500, "p95": 500, "max": 1200}
    assert not judged(2, turns(*[500] * 10, *[1201] * 10))["held"]


def test_a_turn_without_an_answer_is_one_that_was_waited_for_without_end() -> None:
    found = judged(3, turns(*[500] * 10, None, None))
    assert not found["held"]
    assert found["unanswered"] == 2 and found["response_ms"] == {"p50": 500, "p95": None, "max": 500}


def test_turns_that_were_taken_too_early_tell_nothing_of_delay() -> None:
    found = judged(1, turns(500, 600) + turns(9000, early=True) + turns(9000, None, cut_off=True))
    assert found["held"] and (found["turns"], found["left_out"], found["unanswered"]) == (5, 3, 0)


def test_a_step_without_a_turn_is_not_held() -> None:
    assert not judged(4, [])["held"]


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([(1, True), (2, True), (3, False)], "this host holds 2 conversations at once"),
        ([(1, True), (2, False)], "this host holds 1 conversation at once"),
        ([(1, False)], "this host holds 0 conversations at once"),
    ],
)
def test_the_verdict_names_the_last_step_that_was_held_and_the_first_that_was_not(
    held: list[tuple[int, bool]], words: str
) -> None:
    told = verdict([{"calls": calls, "held": good} for calls, good in held])
    assert told.startswith(words)
    assert told.endswith(f"{held[-1][0]} were too many")
    assert verdict([{"calls": 5, "held": True}]).endswith("more were not tried")


def test_a_caller_sees_the_lines_of_its_own_calls_only() -> None:
    board = Switchboard(Daemon(None))  # type: ignore[arg-type]
    one, other = board.of("7700"), board.of("7701")
    board.take({"event": "call", "call_id": "a", "extension": "7700"})
    board.take({"event": "call", "call_id": "b", "extension": "7701"})
    for call in ("a", "b", "c", "a"):
        board.take({"event": "answer", "call_id": call})
    board.take({"event": "agentd is up"})
    assert [line["call_id"] for line in one.lines] == ["a", "a", "a"]
    assert [line["call_id"] for line in other.lines] == ["b", "b"]
    again = board.of("7700")
    board.take({"event": "state", "call_id": "a"})
    assert len(again.lines) == 1 and len(one.lines) == 3
