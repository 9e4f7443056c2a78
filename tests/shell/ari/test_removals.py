"""A removal that Asterisk could not do is tried again soon, whatever else it has to do."""

from itertools import pairwise

import pytest
import structlog
import trio
from trio.testing import MockClock

from agentd.ari.removals import LONGEST_PAUSE, MOST, Removals
from agentd.errors import AriError, AriRejected, AriUnavailable

BUSY = AriUnavailable("DELETE: Asterisk did not answer")


class Peer:
    """Removes, once `fault` is over; `tries` has when it was asked for what."""

    def __init__(self) -> None:
        self.fault: AriError | None = BUSY
        self.stubborn = ""
        self.tries: list[tuple[float, str]] = []
        self.removed: list[str] = []

    async def remove(self, object_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self.tries.append((trio.current_time(), object_id))
        if self.fault is not None or object_id == self.stubborn:
            raise self.fault or BUSY
        self.removed.append(object_id)


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def removals(nursery: trio.Nursery) -> Removals:
    removals = Removals()
    nursery.start_soon(removals.run)
    return removals


async def test_nothing_is_left_soon_after_asterisk_answers_again_however_long_it_did_not(
    removals: Removals, peer: Peer, autojump_clock: MockClock
) -> None:
    parts = [f"agentd-leg-bridge-{number}" for number in range(100)]
    for part in parts:
        removals.failed(part, peer.remove, BUSY)
    assert removals.ids == set(parts)
    await trio.sleep(600.0)
    assert max(later - earlier for (earlier, _), (later, _) in pairwise(peer.tries)) <= LONGEST_PAUSE
    assert len(peer.tries) < 600.0 / LONGEST_PAUSE + 10, "one at a time is tried, not all of them"
    peer.fault = None
    await trio.sleep(LONGEST_PAUSE)
    assert sorted(peer.removed) == sorted(parts)
    assert not removals.ids
    tries = len(peer.tries)
    await trio.sleep(600.0)
    assert len(peer.tries) == tries


async def test_one_that_is_refused_for_ever_keeps_no_other(
    removals: Removals, peer: Peer, autojump_clock: MockClock
) -> None:
    peer.fault, peer.stubborn = None, "bridge-0"
    for number in range(10):
        removals.failed(f"bridge-{number}", peer.remove, AriRejected("DELETE", 503))
    await trio.sleep(5.0)
    assert removals.ids == {"bridge-0"}


@pytest.mark.parametrize("status", [403, 404, 401])
async def test_what_would_not_help_is_not_tried_again(
    status: int, removals: Removals, peer: Peer, autojump_clock: MockClock
) -> None:
    removals.failed("bridge-1", peer.remove, AriRejected("DELETE", status))
    assert not removals.ids
    removals.failed("bridge-1", peer.remove, BUSY)
    peer.fault = AriRejected("DELETE", status)
    with structlog.testing.capture_logs() as logs:
        await trio.sleep(5.0)
    assert len(peer.tries) == 1
    assert [entry["event"] for entry in logs] == ["what is left of a media leg cannot be removed"]
    assert not removals.ids, "the next look at the PBX sees it"


async def test_what_is_remembered_is_bounded(removals: Removals, peer: Peer, autojump_clock: MockClock) -> None:
    for number in range(MOST + 100):
        removals.failed(f"bridge-{number}", peer.remove, BUSY)
    assert len(removals.ids) == MOST
