"""Whose call is gone on with, and whose is not."""

import attrs
import pytest

from agentd.calls.record import CallRecord, Course, Stay
from agentd.party import Party
from agentd.service.adoptable import CALM_SECONDS, MOST_ADOPTIONS, Cause, calmed, refused

RECORD = CallRecord(
    call_id="1.2",
    stay=Stay("1.2"),
    agent="front",
    serving="front",
    transport="external",
    streaming=True,
    rate=8000,
    caller=Party(),
    began=1.7e9,
)
AGENTS, TRANSPORTS = {"front"}, {"external", "rtp"}


def test_a_good_record_of_this_channel_is_gone_on_with() -> None:
    assert refused(RECORD, "1.2", AGENTS, TRANSPORTS) is None
    assert refused(attrs.evolve(RECORD, adoptions=MOST_ADOPTIONS - 1), "1.2", AGENTS, TRANSPORTS) is None


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (attrs.evolve(RECORD, stay=Stay("1.3")), Cause.ANOTHER_CHANNEL),
        (attrs.evolve(RECORD, agent="gone"), Cause.AGENT),
        (attrs.evolve(RECORD, transport="pigeon"), Cause.TRANSPORT),
        (attrs.evolve(RECORD, adoptions=MOST_ADOPTIONS), Cause.TOO_OFTEN),
    ],
)
def test_any_other_is_refused_by_its_reason(record: CallRecord, cause: Cause) -> None:
    refusal = refused(record, "1.2", AGENTS, TRANSPORTS)
    assert refusal is not None
    assert refusal[0] is cause


@pytest.mark.parametrize(
    ("after", "adoptions"), [(0.0, 2), (CALM_SECONDS - 1, 2), (CALM_SECONDS, 0), (CALM_SECONDS * 9, 0), (-5.0, 0)]
)
def test_a_minute_of_calm_counts_anew_whatever_the_clock_does(after: float, adoptions: int) -> None:
    course = Course("front", "external", began=0.0, adoptions=2, adopted_at=1000.0)
    assert calmed(course, 1000.0 + after).adoptions == adoptions
