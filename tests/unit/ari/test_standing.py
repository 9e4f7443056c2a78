"""Whether Asterisk lets agentd's user work, by its answers. Pure."""

import pytest

from agentd.ari.standing import Standing


def after(*answers: tuple[str, int]) -> Standing:
    standing = Standing()
    for method, status in answers:
        standing.answered(method, status)
    return standing


def test_a_user_who_is_obeyed_is_in_no_trouble() -> None:
    assert after(("GET", 200), ("POST", 204), ("DELETE", 404), ("POST", 500)).trouble == ""


def test_a_user_who_may_not_write_is_told_the_remedy() -> None:
    assert "read_only = no" in after(("POST", 403)).trouble


def test_a_user_who_is_not_known_is_told_the_remedy() -> None:
    assert "password" in after(("GET", 401)).trouble


@pytest.mark.parametrize("answer", [("GET", 200), ("POST", 500), ("POST", 503), ("POST", 403)])
def test_to_read_is_not_to_write_and_a_failure_says_nothing(answer: tuple[str, int]) -> None:
    assert after(("POST", 403), answer).trouble


@pytest.mark.parametrize("answer", [("POST", 204), ("DELETE", 404), ("POST", 409)])
def test_whoever_is_obeyed_again_is_in_no_trouble(answer: tuple[str, int]) -> None:
    assert not after(("POST", 403), answer).trouble
    assert not after(("GET", 401), ("GET", 200)).trouble


def test_each_change_is_told_once() -> None:
    standing = Standing()
    told = [standing.answered(*answer) for answer in [("POST", 204), ("POST", 403), ("POST", 403), ("GET", 200)]]
    assert told == [False, True, False, False]
    assert standing.answered("POST", 204)
