"""What becomes of a call whose agent fails: from where, with what words, and with whom it goes on."""

import pytest

from agentd.serving.candidates import Candidate
from agentd.serving.failover import RECONNECTS, Loss, Standing, Takeover, plan, successors
from tests.shell.fakes import FakeAgent

LEAD = 0.5
NOW = 100.0


@pytest.mark.parametrize(
    ("standing", "takeover"),
    [
        pytest.param(Standing(NOW), Takeover(NOW - LEAD), id="nobody speaks and nothing is owed: nothing is said"),
        pytest.param(
            Standing(NOW, caller_speaks=True, onset=97.0),
            Takeover(96.5),
            id="the caller speaks: the whole turn is heard again, and nobody talks into it",
        ),
        pytest.param(
            Standing(NOW, caller_speaks=True, onset=97.0, owed=True, answer_due=True, cut_answer=True),
            Takeover(96.5),
            id="the caller speaks, whatever else there is",
        ),
        pytest.param(
            Standing(NOW, owed=True, answer_due=True, onset=95.0),
            Takeover(NOW, resume=True, hold=True),
            id="the words are known and the answer does not come: it is given from the history",
        ),
        pytest.param(
            Standing(NOW, cut_answer=True, onset=95.0),
            Takeover(NOW, resume=True, hold=True),
            id="an answer is cut short: it is gone on with",
        ),
        pytest.param(
            Standing(NOW, answer_due=True, onset=95.0),
            Takeover(94.5, hold=True),
            id="the answer is due and the words went down with the session: they are heard again",
        ),
        pytest.param(
            Standing(NOW, unheard_from=96.0),
            Takeover(95.5, hold=True),
            id="the session has taken no notice of the caller: they are heard again",
        ),
        pytest.param(
            Standing(NOW, unheard_from=96.0, onset=60.0),
            Takeover(95.5, hold=True),
            id="an earlier turn is not heard again",
        ),
        pytest.param(
            Standing(NOW, owed=True, onset=95.0),
            Takeover(NOW, resume=True, hold=True),
            id="the caller was never answered, though nobody waits: it is made up for",
        ),
        pytest.param(
            Standing(NOW, cut_aside=True),
            Takeover(NOW - LEAD, repeat=True),
            id="a greeting is cut short: it is said again",
        ),
        pytest.param(
            Standing(NOW, cut_aside=True, owed=True, answer_due=True),
            Takeover(NOW, resume=True, hold=True),
            id="a filler is cut short: the answer is what counts",
        ),
        pytest.param(
            Standing(NOW, caller_speaks=True),
            Takeover(NOW - LEAD),
            id="a caller who speaks since nobody knows when",
        ),
    ],
)
def test_how_a_call_goes_on(standing: Standing, takeover: Takeover) -> None:
    assert plan(standing, LEAD) == takeover


FIRST, SECOND, THIRD = (Candidate(name, FakeAgent()) for name in ("first", "second", "third"))


def order(
    failed: Candidate = FIRST, loss: Loss = Loss.ENDED, *, rejected: bool = False, reconnects: int = 0
) -> list[Candidate]:
    return successors([FIRST, SECOND, THIRD], failed, loss, rejected=rejected, reconnects=reconnects)


def test_an_agent_whose_connection_broke_is_asked_first_itself() -> None:
    assert order() == [FIRST, SECOND, THIRD]
    assert order(SECOND) == [SECOND, FIRST, THIRD]


def test_one_that_fell_mute_is_asked_last() -> None:
    assert order(loss=Loss.MUTE) == [SECOND, THIRD, FIRST]


def test_one_that_refuses_us_is_asked_last() -> None:
    assert order(rejected=True) == [SECOND, THIRD, FIRST]


def test_one_that_broke_often_is_asked_last() -> None:
    assert order(reconnects=RECONNECTS - 1) == [FIRST, SECOND, THIRD]
    assert order(reconnects=RECONNECTS) == [SECOND, THIRD, FIRST]


@pytest.mark.parametrize("loss", Loss)
def test_the_only_agent_is_asked_again_whatever_it_did(loss: Loss) -> None:
    assert successors([FIRST], FIRST, loss, rejected=True, reconnects=99) == [FIRST]
