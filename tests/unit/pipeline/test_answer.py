"""An answer on its way: its gate, and where its time went."""

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd_providers.pipeline.answer import STAGES, Answer, Gate

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

# --- the gate


async def test_a_gate_is_closed_until_it_is_opened() -> None:
    gate, through = Gate(), []

    async def pass_through() -> None:
        await gate.passed()
        through.append(gate.is_open)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_through)
        await wait_all_tasks_blocked()
        assert not through
        gate.open()
    assert through == [True]


async def test_an_open_gate_lets_everybody_through() -> None:
    gate = Gate()
    gate.open()
    gate.open()
    with trio.fail_after(1):
        await gate.passed()
        await gate.passed()


async def test_a_gate_that_is_closed_again_keeps_back_what_has_not_passed() -> None:
    gate = Gate()
    gate.open()
    gate.close()
    gate.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.passed)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        gate.open()


async def test_a_gate_that_is_closed_before_the_waiting_have_gone_through_holds_them() -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.passed)
        await wait_all_tasks_blocked()
        gate.open()
        gate.close()
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        gate.open()


async def test_passing_even_an_open_gate_can_be_cancelled() -> None:
    gate = Gate()
    gate.open()
    with trio.CancelScope() as scope:
        scope.cancel()
        await gate.passed()
    assert scope.cancelled_caught


# --- the stages


async def answer_with(*marks: tuple[str, float]) -> Answer:
    """An answer to what was said until now, its stages ended after so many seconds each."""
    answer = Answer(1, trio.current_time())
    for stage, seconds in marks:
        await trio.sleep(seconds)
        answer.mark(stage)
    return answer


async def test_the_stages_lie_end_to_end(autojump_clock: MockClock) -> None:
    answer = await answer_with(
        ("pause", 0.1), ("transcript", 0.15), ("first_token", 0.05), ("first_audio", 0.2), ("held", 0.0)
    )
    assert answer.stages() == pytest.approx(
        {"pause": 0.1, "transcript": 0.15, "first_token": 0.05, "first_audio": 0.2, "held": 0.0}
    )


async def test_the_end_of_the_turn_lies_beside_them(autojump_clock: MockClock) -> None:
    answer = await answer_with(("pause", 0.1), ("transcript", 0.2), ("endpoint", 0.3), ("held", 0.1))
    assert answer.stages() == pytest.approx({"pause": 0.1, "transcript": 0.2, "held": 0.4, "endpoint": 0.6})


async def test_a_stage_ends_the_first_time(autojump_clock: MockClock) -> None:
    answer = await answer_with(("pause", 0.1), ("first_token", 0.2), ("first_token", 5.0))
    assert answer.stages() == pytest.approx({"pause": 0.1, "first_token": 0.2})


async def test_a_turn_that_came_as_text_has_the_stages_that_it_went_through(autojump_clock: MockClock) -> None:
    answer = await answer_with(("endpoint", 0.0), ("first_token", 0.3), ("first_audio", 0.1), ("held", 0.0))
    assert answer.stages() == pytest.approx({"first_token": 0.3, "first_audio": 0.1, "held": 0.0, "endpoint": 0.0})


async def test_a_stage_that_was_over_before_the_one_before_it_took_no_time(autojump_clock: MockClock) -> None:
    answer = await answer_with(("first_audio", 0.3), ("transcript", 0.2))
    assert answer.stages() == pytest.approx({"transcript": 0.5, "first_audio": 0.0})


@unhurried
@given(st.lists(st.tuples(st.sampled_from(STAGES), st.floats(0, 5)), max_size=12))
def test_the_stages_add_up_to_the_last_mark(marks: list[tuple[str, float]]) -> None:
    async def total() -> tuple[float, float]:
        answer = await answer_with(*marks)
        first = {}
        elapsed = 0.0
        for stage, seconds in marks:
            elapsed += seconds
            first.setdefault(stage, elapsed)
        return sum(answer.stages().values()), max(first.values(), default=0.0)

    told, last = trio.run(total, clock=MockClock(autojump_threshold=0))
    assert told == pytest.approx(last)
