"""Turns: a few at a time, the lowest rank first."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agentd.ari.turns import Turns
from agentd.testing.clock import run_virtually


async def test_who_comes_at_one_moment_goes_by_rank_and_within_a_rank_by_arrival(autojump_clock: MockClock) -> None:
    turns, went = Turns(1), list[str]()

    async def go(name: str, rank: float) -> None:
        async with turns.turn(rank):
            went.append(name)
            await trio.sleep(1.0)

    async with trio.open_nursery() as nursery:
        for number in (5, 3, 1, 4, 2):
            nursery.start_soon(go, f"at once {number}", number)
        await trio.sleep(0.5)
        for name, rank in (("later", 9), ("last", 9), ("first", 0)):
            nursery.start_soon(go, name, rank)
            await trio.sleep(0.1)
    assert went == ["at once 1", "first", *(f"at once {number}" for number in (2, 3, 4, 5)), "later", "last"]
    assert turns.taken == 0


@given(
    places=st.integers(1, 4),
    stays=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3), st.floats(0, 3), st.floats(0, 3)), max_size=30),
)
@settings(deadline=None)
def test_no_place_is_lost_whoever_is_cancelled_when(places: int, stays: list[tuple[float, int, float, float]]) -> None:
    async def main() -> None:
        turns, held = Turns(places), 0

        async def stay(comes: float, rank: int, lasts: float, patience: float) -> None:
            nonlocal held
            await trio.sleep(comes)
            with trio.move_on_after(patience):
                async with turns.turn(rank):
                    held += 1
                    assert held <= places
                    try:
                        await trio.sleep(lasts)
                    finally:
                        held -= 1

        async with trio.open_nursery() as nursery:
            for one in stays:
                nursery.start_soon(stay, *one)
        assert turns.taken == 0
        for _ in range(places):
            await turns.take(0)
        with pytest.raises(trio.TooSlowError), trio.fail_after(1.0):
            await turns.take(0)

    run_virtually(main)
