"""A branch is the life that it has the name of."""

from typing import Any

import attrs
import pytest

from agentd.ari.rest import AriRest
from tests.walk import branches
from tests.walk.branches import live_branches
from tests.walk.faults import Fault, How
from tests.walk.kinds import BY_NAME
from tests.walk.life import Life

KIND = BY_NAME["external-file-full-transfer"]
FAULTS = [
    "request-3/500",
    "request-7/unanswered",
    "event-4/swapped",
    "agent-2/hangs",
    "leg-4/hangs",
    "step-300/stop",
]


def test_it_ends_as_the_life_does_that_is_lived_by_itself() -> None:
    ended = live_branches(KIND, map(Fault.parse, FAULTS))
    assert sorted(branch.name for branch in ended) == sorted(f"{KIND}/{fault}" for fault in FAULTS)
    for branch in ended:
        alone = Life(KIND, Fault.parse(branch.name.partition("/")[2])).run()
        assert _but_its_course(branch) == _but_its_course(alone)
        assert branch.course is not None
        assert alone.course is not None
        assert attrs.evolve(branch.course, steps=0) == attrs.evolve(alone.course, steps=0)


def _but_its_course(outcome: Any) -> Any:
    return attrs.evolve(outcome, course=None)


def test_one_whose_fake_fails_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(rest: AriRest, *_arguments: Any, **_named: Any) -> None:
        await rest.request("POST", "/nowhere")

    monkeypatch.setattr(AriRest, "destroy_bridge", unknown)
    kind = BY_NAME["fork-stream-full-none"]
    [branch] = live_branches(kind, [Fault.parse("step-200/hang-up")])
    assert branch.name == f"{kind}/step-200/hang-up"
    assert branch.sorts == "BROKEN"


def test_one_that_goes_round_in_circles_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def for_ever(_life: Life, how: How | None) -> None:
        while how is not None:
            pass

    monkeypatch.setattr(branches, "PATIENCE", 0.5)
    monkeypatch.setattr(Life, "cut_short", for_ever)
    [branch] = live_branches(BY_NAME["fork-stream-full-none"], [Fault.parse("step-200/hang-up")])
    assert (branch.name, branch.sorts) == ("fork-stream-full-none/step-200/hang-up", "BROKEN")
