"""What a refused hand-back means, by status; and when it is tried again."""

from itertools import pairwise

import pytest

from agentd.ari.hand_back import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    RETURN,
    TOLD_SOON,
    TOLD_WITHIN,
    WITHOUT_WAY_BACK,
    Refusal,
    goes_untold,
    judge,
    noted,
    pause_after,
    refuses_destination,
    way_back_of,
)
from agentd.conversation.commands import Destination, Result
from agentd.errors import AriError, AriRejected, AriUnavailable


@pytest.mark.parametrize("extension", ["7600", "s", "_attended", "a,b"])
def test_a_way_back_that_was_noted_is_read_again(extension: str) -> None:
    way_back = Destination("agentd-call", extension, 5)
    assert way_back_of(None, noted(way_back)) == way_back


@pytest.mark.parametrize(
    "note", ["", "agentd-call", "agentd-call,7600", ",7600,5", "agentd-call,,5", "a,b,-1", "a,b,²"]
)
def test_what_is_no_way_back_is_none(note: str) -> None:
    assert way_back_of(Destination("from-internal", "7000", 2), note) is None
    assert way_back_of(None, note) is None
    assert way_back_of(WITHOUT_WAY_BACK, note) == RETURN


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (400, Refusal.REFUSED),
        (401, Refusal.UNKNOWN_USER),
        (403, Refusal.READ_ONLY),
        (404, Refusal.GONE),
        (409, Refusal.NOT_OURS),
        (412, Refusal.TRY_AGAIN),
        (422, Refusal.REFUSED),
        (500, Refusal.TRY_AGAIN),
        (502, Refusal.TRY_AGAIN),
        (503, Refusal.TRY_AGAIN),
        (504, Refusal.TRY_AGAIN),
    ],
)
def test_each_status_is_told_for_what_it_is(status: int, refusal: Refusal) -> None:
    assert judge(AriRejected("POST continue", status)) is refusal


@pytest.mark.parametrize("error", [AriUnavailable("no answer"), AriError("an answer that is not JSON")])
def test_no_answer_and_an_unreadable_one_are_no_refusal(error: AriError) -> None:
    assert judge(error) is Refusal.TRY_AGAIN


def test_only_a_channel_that_is_gone_or_no_longer_ours_leaves_nothing_to_hand_back() -> None:
    assert {refusal for refusal in Refusal if refusal.settles} == {Refusal.GONE, Refusal.NOT_OURS}


def test_what_the_operator_has_to_mend_is_named() -> None:
    assert "read_only = no" in Refusal.READ_ONLY.remedy
    assert "password" in Refusal.UNKNOWN_USER.remedy
    assert not Refusal.TRY_AGAIN.remedy


def test_tries_come_at_longer_and_longer_pauses_up_to_a_bound() -> None:
    pauses = [pause_after(tries) for tries in range(1, 40)]
    assert pauses[0] == FIRST_PAUSE
    assert all(later == min(earlier * 2, LONGEST_PAUSE) for earlier, later in pairwise(pauses))
    assert pauses[-1] == LONGEST_PAUSE
    assert pause_after(10**6) == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("status", "tries", "refused"),
    [(400, 1, True), (404, 1, True), (409, 1, True), (500, 1, False), (503, 2, False), (500, 3, True), (403, 9, False)],
)
def test_a_transfer_is_given_up_where_it_is_refused_and_not_where_nothing_is_obeyed(
    status: int, tries: int, refused: bool
) -> None:
    assert refuses_destination(AriRejected("POST continue", status), tries) is refused


@pytest.mark.parametrize(
    ("waited", "lasting", "untold"),
    [
        (0.0, 0.0, False),
        (0.0, TOLD_WITHIN, False),
        (0.0, TOLD_WITHIN + 0.1, True),
        (TOLD_WITHIN - 2.0, 1.9, False),
        (TOLD_WITHIN - 2.0, 2.1, True),
        (600.0, 0.9, False),  # an Asterisk that was away for long, and answers at once now
    ],
)
def test_the_reason_is_left_out_where_it_would_take_all_of_them_too_long(
    waited: float, lasting: float, untold: bool
) -> None:
    assert goes_untold("refused:busy", waited, lasting) is untold


def test_in_an_overload_the_reason_is_left_out_sooner() -> None:
    assert not goes_untold("refused:busy", 0.0, TOLD_SOON, overload=True)
    assert goes_untold("refused:busy", 0.0, TOLD_SOON + 0.1, overload=True)
    assert not goes_untold("completed", 0.0, 1000.0, overload=True)


def test_the_reason_is_left_out_only_where_the_dialplan_does_the_same_without_one() -> None:
    untold = {result for result in Result if goes_untold(result, 0.0, 1000.0)}
    assert untold == {result for result in Result if result.startswith(("refused:", "failed:"))}
    assert not {Result.COMPLETED, Result.TRANSFERRED, Result.CALLER_SILENT, Result.MAX_DURATION} & untold
