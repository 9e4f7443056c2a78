"""The fault walk: whatever one thing goes wrong in a call, its caller is not left in silence, nothing of it is left,
and no other caller notices."""

from pathlib import Path

import pytest

from tests.walk.faults import Fault
from tests.walk.kinds import KINDS, Kind
from tests.walk.walk import clean, live, named

KNOWN = dict(line.split(": ") for line in (Path(__file__).parent / "known.txt").read_text("utf-8").splitlines())
"""The lives that still go wrong, and how. None is added."""
WALKED = KINDS[:1]


@pytest.mark.parametrize("kind", WALKED, ids=str)
def test_every_request_and_every_fault(kind: Kind) -> None:
    _walk(kind, [*clean(kind).of_requests()])


def _walk(kind: Kind, faults: list[Fault]) -> None:
    lives = named(kind, faults)
    wrong = {outcome.name: outcome.sorts for outcome in map(live, lives) if outcome.wrong}
    assert {name: sorts for name, sorts in wrong.items() if KNOWN.get(name) != sorts} == {}
