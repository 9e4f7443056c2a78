"""Who gets in, as a table."""

import attrs
import pytest

from agentd.conversation.commands import Result
from agentd.service.admittance import Arrival, Cause, Refusal, refusal

QUIET = Arrival(agent="night", known=True, ready=True, trouble="", others=0, max_calls=2, draining=False)
NOT_READY = {"ready": False, "trouble": "the model is missing"}
UNKNOWN = {"known": False, "ready": False}

DRAINING = Refusal(Result.REFUSED_DRAINING, "agentd is being stopped", Cause.DRAINING)
BUSY = Refusal(Result.REFUSED_BUSY, "2 calls already", Cause.MAX_CALLS)


@pytest.mark.parametrize(
    ("arrival", "expected"),
    [
        ({}, None),
        ({"others": 1}, None),
        ({"others": 2}, BUSY),
        ({"others": 3}, Refusal(Result.REFUSED_BUSY, "3 calls already", Cause.MAX_CALLS)),
        ({"max_calls": 0}, Refusal(Result.REFUSED_BUSY, "0 calls already", Cause.MAX_CALLS)),
        ({"draining": True}, DRAINING),
        (UNKNOWN, Refusal(Result.REFUSED_AGENT, "no agent is called 'night'", Cause.AGENT)),
        (
            NOT_READY,
            Refusal(Result.REFUSED_AGENT, "agent 'night' is not ready: the model is missing", Cause.AGENT),
        ),
        # of several reasons
        ({"draining": True, "others": 2}, DRAINING),
        ({"draining": True, **UNKNOWN}, DRAINING),
        ({"others": 2, **UNKNOWN}, BUSY),
        ({"others": 2, **NOT_READY}, BUSY),
    ],
)
def test_a_caller_gets_in_or_hears_why_not(arrival: dict[str, object], expected: Refusal | None) -> None:
    assert refusal(attrs.evolve(QUIET, **arrival)) == expected
