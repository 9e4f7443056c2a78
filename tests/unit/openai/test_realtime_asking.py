"""The tables of who makes a Realtime session's next answer, whatever happens in whatever order."""

import attrs
import pytest

from agentd_providers.openai.realtime.asking import (
    NEXT,
    NEXT_IF_AGENTD_ASKS,
    NEXT_IF_SERVER_ANSWERS,
    REQUEST,
    REQUEST_IF_SERVER_ANSWERS,
    TOGETHER,
    TURN,
    Asking,
    Happening,
    Next,
    Request,
    Turn,
)

Key = tuple[Turn, Next, Request]


def possible(asking: Asking, what: Happening) -> bool:
    """Whether a session lets this happen: asking follows from the state, what is heard of a request from its being."""
    match what:
        case Happening.SENT:
            return (asking.next, asking.request) == (Next.WANTED, Request.NONE)
        case Happening.OURS_BEGUN | Happening.FAILED | Happening.COLLIDED | Happening.ENDED_INSTEAD:
            return asking.in_flight
        case Happening.LAPSED:
            return asking.expecting
        case Happening.LOST | Happening.RECOVERS:
            return asking.turn is Turn.OPEN
        case _:
            return True


def reachable(vendor_answers: bool) -> set[Key]:
    seen: set[Key] = set()
    found = [Asking(vendor_answers)]
    while found:
        asking = found.pop()
        if (key := (asking.turn, asking.next, asking.request)) in seen:
            continue
        seen.add(key)
        for what in filter(lambda what, asking=asking: possible(asking, what), Happening):  # type: ignore[misc]
            after = attrs.evolve(asking)
            after.happens(what)
            found.append(after)
    return seen


SERVER, AGENTD = reachable(True), reachable(False)


def test_every_state_is_reached_where_the_server_answers_by_itself() -> None:
    assert {key[0] for key in SERVER} == set(Turn)
    assert {key[1] for key in SERVER} == set(Next)
    assert {key[2] for key in SERVER} == set(Request)


def test_where_agentd_asks_for_each_answer_none_is_expected() -> None:
    assert {key[1] for key in AGENTD} == {Next.NOBODY, Next.OWED, Next.WANTED}
    assert {key[2] for key in AGENTD} == set(Request)


@pytest.mark.parametrize(
    ("next_rows", "request_rows", "states"),
    [
        (NEXT, REQUEST, SERVER | AGENTD),
        (NEXT_IF_SERVER_ANSWERS, REQUEST_IF_SERVER_ANSWERS, SERVER),
        (NEXT_IF_AGENTD_ASKS, {}, AGENTD),
    ],
    ids=["either", "the server answers", "agentd asks"],
)
def test_every_row_is_used_by_some_session(next_rows: object, request_rows: object, states: set[Key]) -> None:
    assert {state for state, _ in next_rows} <= {key[1] for key in states}  # type: ignore[attr-defined]
    assert {state for state, _ in request_rows} <= {key[2] for key in states}  # type: ignore[attr-defined]


def test_the_rows_of_two_regions_are_used_too() -> None:
    assert {(upcoming, request) for upcoming, request, _ in TOGETHER} <= {key[1:] for key in SERVER | AGENTD}


def test_no_happening_is_without_a_row() -> None:
    tables = (TURN, NEXT, NEXT_IF_SERVER_ANSWERS, NEXT_IF_AGENTD_ASKS, REQUEST, REQUEST_IF_SERVER_ANSWERS)
    known = {what for table in tables for _, what in table} | {what for _, _, what in TOGETHER}
    assert known == set(Happening)


@pytest.mark.parametrize("vendor_answers", [True, False])
def test_whatever_the_caller_said_last_somebody_makes_an_answer_to_it(vendor_answers: bool) -> None:
    for turn, upcoming, request in reachable(vendor_answers):
        for what in (Happening.TURN_OVER, Happening.CALLER_WROTE):
            asking = Asking(vendor_answers, turn, upcoming, request)
            asking.happens(what)
            assert asking.turn is Turn.OPEN
            assert asking.next is not Next.NOBODY
