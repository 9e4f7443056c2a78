"""The kinds of call that are walked."""

from itertools import combinations

import pytest

from tests.walk.faults import Fault, How, Where
from tests.walk.kinds import DIMENSIONS, IMPOSSIBLE, KINDS, Kind, all_pairs
from tests.walk.walk import Walked


def test_twenty_four_kinds_cover_all_pairs_that_there_can_be() -> None:
    covered = {pair for kind in KINDS for pair in kind.pairs}
    assert covered == set(all_pairs())
    assert len(set(KINDS)) == 24


def test_what_cannot_be_is_no_kind() -> None:
    assert not [kind for kind in KINDS if kind.pairs & set(IMPOSSIBLE)]


def test_no_choice_is_called_like_another() -> None:
    names = [name for dimension in DIMENSIONS for name in dimension]
    assert len(set(names)) == len(names)
    assert all(len(pair) == 2 for kind in KINDS for pair in kind.pairs)
    assert len(list(combinations(DIMENSIONS, 2))) == 6


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_life_is_found_by_its_name(kind: Kind) -> None:
    fault = Fault(Where.REQUEST, 7, How.R403)
    life = Walked(f"{kind}/{fault}").life()
    assert (life.kind, life.fault, life.name) == (kind, fault, f"{kind}/request-7/403")
    assert Walked(f"{kind}/clean").life().fault is None


@pytest.mark.parametrize("name", ["nothing", "pigeon-stream-full-none/clean", f"{KINDS[0]}/request-0/dropped"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"there is no kind|a fault is"):
        Walked(name).life()
