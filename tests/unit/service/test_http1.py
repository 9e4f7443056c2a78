"""HTTP/1 on one connection of the health page: whatever comes is answered or ends that connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.service.http1 import MAX_BODY, MAX_HEAD, MAX_REQUESTS, Asked, HttpConnection, Page
from tests.unit.service.odd_requests import HOST, TABLE, Odd, get, statuses

PAGES = {"/health": Page(b'{"status": "ok"}\n', "application/json"), "/metrics": Page(b"agentd_x 1\n" * 200)}


def answers(http: HttpConnection) -> bytes:
    """All that is answered now."""
    said = b""
    while not http.closed and (due := http.next()) is not None:
        said += http.answer(PAGES[due.path]) if isinstance(due, Asked) else due
    return said


def connection() -> HttpConnection:
    return HttpConnection(PAGES.keys())


@pytest.mark.parametrize("odd", TABLE, ids=lambda odd: odd.name)
@pytest.mark.parametrize("size", [1, 4096], ids=lambda size: f"{size} at a time")
def test_each_request_has_its_answers(odd: Odd, size: int) -> None:
    http, said = connection(), b""
    for at in range(0, len(odd.sent), size):
        if http.closed:
            break
        http.receive(odd.sent[at : at + size])
        said += answers(http)
    assert tuple(statuses(said)) == odd.statuses
    assert http.closed == any(status < 0 for status in odd.statuses)


@pytest.mark.parametrize("odd", TABLE, ids=lambda odd: odd.name)
def test_a_peer_that_sends_no_more_is_answered_and_the_connection_ends(odd: Odd) -> None:
    http = connection()
    http.receive(odd.sent[:4096])
    said = answers(http)
    if not http.closed:
        http.receive(b"")
        said += answers(http)
    assert http.closed
    assert len(list(statuses(said))) <= len(odd.statuses) + 1


@given(st.lists(st.binary(max_size=60) | st.sampled_from([odd.sent[:4096] for odd in TABLE]), max_size=8))
def test_any_bytes_are_answered_by_whole_answers(pieces: list[bytes]) -> None:
    http, said = connection(), b""
    for piece in [*filter(None, pieces), b""]:
        if not http.closed:
            http.receive(piece)
            said += answers(http)
    assert http.closed
    list(statuses(said))


def test_requests_that_come_together_are_answered_one_at_a_time() -> None:
    http = connection()
    http.receive(get() + get(b"/metrics"))
    assert http.next() == Asked("/health")
    http.answer(PAGES["/health"])
    assert http.next() == Asked("/metrics")
    http.answer(PAGES["/metrics"])
    assert http.next() is None


def test_a_connection_ends_after_so_many_requests() -> None:
    http = connection()
    for number in range(1, MAX_REQUESTS + 1):
        http.receive(get())
        [status] = statuses(answers(http))
        assert status == (200 if number < MAX_REQUESTS else -200)
    assert http.closed


def test_no_more_is_held_of_a_request_than_its_limits() -> None:
    for beginning in (b"GET /health HTTP/1.1\r\nX: ", get(headers=HOST + b"Transfer-Encoding: chunked\r\n") + b"1;"):
        http, taken = connection(), 0
        http.receive(beginning)
        while not http.closed:
            http.receive(b"x" * 1024)
            taken += 1024
            answers(http)
        assert taken <= max(MAX_HEAD, MAX_BODY) + 2048


def test_head_tells_the_length_that_get_would_have() -> None:
    http = connection()
    http.receive(get(b"/metrics", method=b"HEAD"))
    said = answers(http)
    assert said.endswith(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(PAGES["/metrics"].body) in said


def test_a_405_names_what_is_allowed() -> None:
    http = connection()
    http.receive(get(method=b"POST"))
    assert b"allow: GET, HEAD\r\n" in answers(http)
