"""Engines that are as slow as another host's."""

import pytest
import trio
from trio.testing import MockClock

from tests.lab.altered_engines import late


@pytest.mark.parametrize("factor", [1.0, 2.0, 3.5])
async def test_an_answer_comes_so_many_times_as_late(autojump_clock: MockClock, factor: float) -> None:
    async def engine(seconds: float) -> str:
        await trio.sleep(seconds)
        return "words"

    began = trio.current_time()
    assert await late(factor, engine, 0.2) == "words"
    assert trio.current_time() - began == pytest.approx(0.2 * factor)
