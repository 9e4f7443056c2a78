"""What a call uses up beyond its budgets has an outcome from which its caller does not suffer."""

import attrs
import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from agentd import session_events as tells
from agentd.ari.owed import HandBacks
from agentd.budgets import INBOX, LOG_LINES, TASKS, TURN_TOOL_CALLS
from agentd.calls.inbox import Inbox
from agentd.calls.log_lines import within_budget
from agentd.calls.tasks import count_tasks
from agentd.conversation.commands import Result
from agentd.errors import BudgetExceeded
from agentd.metrics import Metrics
from agentd.service.stays import LINE_CLOCK, Stays
from agentd.service.watchdog import ProgressWatch
from agentd.testing._asterisk import FakeAsterisk
from tests.shell.call_scene import SETTINGS, make_scene, running

log = structlog.get_logger()


async def test_tasks_are_counted_wherever_in_a_call_they_were_started() -> None:
    async def more() -> None:
        async with trio.open_nursery() as below:
            for _ in range(3):
                below.start_soon(trio.sleep_forever)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(more)
        nursery.start_soon(more)
        await trio.testing.wait_all_tasks_blocked()
        assert count_tasks(nursery, 100) == 8
        assert count_tasks(nursery, 5) == 6
        nursery.cancel_scope.cancel()


async def test_a_call_whose_tasks_grow_without_end_is_a_defect_and_ends(autojump_clock: MockClock) -> None:
    scene = make_scene()
    with pytest.RaisesGroup(BudgetExceeded, flatten_subgroups=True):
        async with running(scene):
            await scene.greeted()
            for _ in range(TASKS.most):
                scene.call._nursery.start_soon(trio.sleep_forever)
            await trio.sleep(5)
    assert scene.sample("call_budget_exceeded_total", budget="tasks") == 1


async def test_a_model_that_only_asks_for_tools_on_and_on_is_dead_air(autojump_clock: MockClock) -> None:
    scene = make_scene(liveness=attrs.evolve(SETTINGS.liveness, dead_air_after=20.0))
    async with running(scene):
        await scene.greeted()
        began, asked = trio.current_time(), 0
        while scene.call.result is None and trio.current_time() < began + 60:
            asked += 1
            scene.session.emit(tells.ToolRequested("nothing", "{}", f"c{asked}"))
            await trio.sleep(0.5)
    assert scene.result is Result.FAILED_SILENCE
    assert trio.current_time() - began < 0.5 * TURN_TOOL_CALLS.most + 25


@pytest.mark.parametrize("fails", [False, True])
async def test_a_call_that_logs_without_end_tells_at_its_end_how_much_was_left_out(fails: bool) -> None:
    metrics = Metrics()
    stays = Stays(HandBacks(FakeAsterisk().rest(metrics), metrics), metrics, ProgressWatch({LINE_CLOCK: 5.0}, 0.0))

    async def serve() -> Result:
        await trio.lowlevel.checkpoint()
        for _ in range(LOG_LINES.most + 7):
            log.warning("a frame of a kind that no Asterisk sends")
        if fails:
            raise RuntimeError("a defect")
        return Result.COMPLETED

    async def hand_back(_result: Result) -> None:
        await trio.lowlevel.checkpoint()

    with structlog.testing.capture_logs(processors=[within_budget]) as logged:
        await stays.attend("1700000000.1", "PJSIP/alice-1", serve, hand_back, lambda: None)
    assert len(logged) == LOG_LINES.most + 1 + fails
    assert logged[-1]["event"] == "call ended"
    assert logged[-1]["log_lines_left_out"] == 7
    labels = {"budget": "log_lines"}
    assert metrics.registry.get_sample_value("agentd_call_budget_exceeded_total", labels) == 7


async def test_an_event_that_finds_the_inbox_full_is_counted() -> None:
    metrics = Metrics()
    inbox = Inbox(metrics)
    for number in range(2 * INBOX.most + 3):
        inbox.post(number)
    labels = {"budget": "inbox"}
    assert metrics.registry.get_sample_value("agentd_call_budget_exceeded_total", labels) == 3
