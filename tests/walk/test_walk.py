"""The fault walk: whatever one thing goes wrong in a call, its caller is not left in silence, nothing of it is left,
and no other caller notices. `just walk --life NAME` shows one that fails."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.walk.branches import live_branches
from tests.walk.faults import AUDIOSOCKET, RTP, WEBSOCKET, WEBSOCKET_CLIENT, Fault, of_legs
from tests.walk.kinds import KINDS, Kind
from tests.walk.walk import clean, steps

KNOWN = dict(line.split(": ") for line in (Path(__file__).parent / "known.txt").read_text("utf-8").splitlines())
"""The lives that still go wrong, and how. A life that is mended leaves it: that is a failure too."""
SEED = int(os.environ.get("WALK_SEED", "1"))
"""Another one walks other steps."""
STEPS = 200
"""Steps at which a call of each kind is cut short here, for time; `just walk` walks all."""


@pytest.mark.long
class WalkOfLegs:
    """What may happen to the media legs of one kind of call. A class each, so that they are walked side by side."""

    kind: Kind

    def test_each_leg_hangs_and_what_else_may_happen_to_it(self) -> None:
        self._live(of_legs(self.kind.carriage))

    def _live(self, faults: Iterable[Fault]) -> None:
        print(f"WALK_SEED={SEED}")
        wanted = list(dict.fromkeys(faults))
        outcomes = live_branches(self.kind, wanted)
        assert len(outcomes) == len(wanted)
        names = {f"{self.kind}/{fault}" for fault in wanted}
        wrong = {outcome.name: str(outcome) for outcome in outcomes if outcome.wrong and outcome.name not in KNOWN}
        assert not wrong
        still = {outcome.name: outcome.sorts for outcome in outcomes if outcome.wrong}
        assert still == {name: KNOWN[name] for name in names & KNOWN.keys()}


class Walk(WalkOfLegs):
    """All that may happen to one kind of call."""

    def test_each_request_fails_in_every_way_and_each_event_is_lost_doubled_and_late(self) -> None:
        course = clean(self.kind)
        self._live([*course.of_requests(), *course.of_events()])

    def test_each_peer_hangs(self) -> None:
        self._live(clean(self.kind).of_peers())

    def test_it_is_cut_short_at_many_steps(self) -> None:
        self._live(steps(clean(self.kind), STEPS, SEED, str(self.kind)))


class WalkOfSomeLegs(WalkOfLegs):
    """Of what may happen to the media legs, a share: the kinds whose audio is carried so have all of it together."""

    def test_each_leg_hangs_and_what_else_may_happen_to_it(self) -> None:
        carriage = self.kind.carriage
        sharing = [kind for kind in KINDS if kind.carriage == carriage]
        self._live(tuple(of_legs(carriage))[sharing.index(self.kind) :: len(sharing)])


WALKS = {AUDIOSOCKET: Walk, RTP: WalkOfLegs, WEBSOCKET: WalkOfSomeLegs, WEBSOCKET_CLIENT: WalkOfSomeLegs}
"""For time: beside their legs, calls that are carried otherwise are much the same."""
for _kind in KINDS:
    _name = "Test" + "".join(part.title() for part in str(_kind).split("-"))
    globals()[_name] = type(_name, (WALKS[_kind.carriage],), {"kind": _kind, "__doc__": f"The kind {_kind}."})
