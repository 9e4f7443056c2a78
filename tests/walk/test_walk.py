"""The fault walk: whatever one thing goes wrong in a call, its caller is not left in silence, nothing of it is left,
and no other caller notices. `just walk --life NAME` shows one that fails."""

import os
from collections.abc import Iterable
from pathlib import Path

from tests.walk.faults import Fault
from tests.walk.kinds import KINDS, Kind
from tests.walk.life import IDLE
from tests.walk.walk import clean, live, named, sample, steps

KNOWN = dict(line.split(": ") for line in (Path(__file__).parent / "known.txt").read_text("utf-8").splitlines())
"""The lives that still go wrong, and how. A life that is mended leaves it: that is a failure too."""
SEED = int(os.environ.get("WALK_SEED", "1"))
"""Another one walks other steps."""
WHOLE = (KINDS[0], KINDS[6])
"""The kinds of which every request and every event is walked here: streamed and played, over either way, ended by the
agent and by the caller. Of the others, of peers and of steps it is a sample, for time; `just walk` walks all."""
SAMPLE, PEERS, STEPS = 24, 8, 20
SOON = 120.0
"""Seconds after which all is judged here but what peers do: four times as long as agentd waits for anything."""


class Walk:
    """One kind of call. A class each, so that they are walked side by side."""

    kind: Kind

    def test_each_request_fails_in_every_way_and_each_event_is_lost_doubled_and_late(self) -> None:
        course = clean(self.kind)
        faults = [*course.of_requests(), *course.of_events()]
        self._live(faults if self.kind in WHOLE else sample(faults, SAMPLE, SEED, str(self.kind)), SOON)

    def test_each_peer_hangs(self) -> None:
        self._live(sample([*clean(self.kind).of_peers()], PEERS, SEED, str(self.kind)), IDLE)

    def test_it_is_cut_short_at_many_steps(self) -> None:
        self._live(steps(clean(self.kind), STEPS, SEED, str(self.kind)), SOON)

    def _live(self, faults: Iterable[Fault], idle: float) -> None:
        print(f"WALK_SEED={SEED}")
        lives = named(self.kind, faults, idle=idle)
        wrong = {outcome.name: outcome.sorts for outcome in map(live, lives) if outcome.wrong}
        assert wrong == {life.name: KNOWN[life.name] for life in lives if life.name in KNOWN}


for _kind in KINDS:
    _name = "Test" + "".join(part.title() for part in str(_kind).split("-"))
    globals()[_name] = type(_name, (Walk,), {"kind": _kind, "__doc__": f"The kind {_kind}."})
