"""More callers at once than Asterisk can set calls up for: who is served, who is handed back, and when."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.ari import hand_back
from agentd.config.settings import Calls
from agentd.service.pressure import LONGEST_WAIT, STRAINED_PATIENCE
from agentd.testing._asterisk import Answer
from tests.shell.front_desk import FrontDesk, open_for_callers

A_SECOND = 40.0
"""Requests that this Asterisk answers."""
FRAME = 0.02


def callers(first: int, count: int) -> list[str]:
    return [f"1700000000.{number:04}" for number in range(first, first + count)]


async def come(desk: FrontDesk, who: Sequence[str], within: float = 0.0) -> None:
    """They enter the application, evenly over so many seconds."""
    for caller in who:
        desk.call(caller=caller)
        await trio.sleep(within / len(who))


def up(desk: FrontDesk, who: Sequence[str]) -> list[str]:
    """Those whose agent has been opened and whose line is in the bridge."""
    return [caller for caller in who if any(caller in members for members in desk.asterisk.bridges.values())]


def back(desk: FrontDesk, who: Sequence[str]) -> list[str]:
    """Those who are in the dialplan again, in the order in which they got there."""
    return [caller for caller in desk.asterisk.continued if caller in who]


async def decided(desk: FrontDesk, who: Sequence[str], within: float) -> float:
    """Seconds until each of them is served or handed back."""
    began = trio.current_time()
    with trio.fail_after(within):
        while len(up(desk, who)) + len(back(desk, who)) < len(who):
            await trio.sleep(0.05)
    return trio.current_time() - began


async def all_hang_up(desk: FrontDesk, who: Sequence[str]) -> None:
    for caller in who:
        if caller in desk.asterisk.in_app:
            desk.hang_up(caller)
    await desk.over()


@attrs.frozen
class Listened:
    """What the lines of callers carried over a stretch of time."""

    frames: int
    longest_gap: float


def listened(desk: FrontDesk, lines: int, since: float) -> Sequence[Listened]:
    """What the first lines of the day have carried since then."""
    heard = []
    for line in desk.lines.all[:lines]:
        times = [at for at, _ in line.frames if at >= since]
        gaps = [after - before for before, after in pairwise(times)]
        heard.append(Listened(len(times), max(gaps)))
    return heard


async def settled(desk: FrontDesk, since: float) -> float:
    """Seconds from then until nobody waits to be handed back."""
    await desk.until(lambda: not desk.client.hand_backs.channels and not desk.reception.line._refused)
    return trio.current_time() - since


async def test_of_200_callers_in_a_second_some_are_served_and_the_rest_goes_on_within_12_seconds(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    talking, burst = callers(0, 5), callers(100, 200)
    async with open_for_callers(tmp_path, calls=Calls(max_calls=500)) as desk:
        await come(desk, talking)
        await desk.until(lambda: len(up(desk, talking)) == 5)
        desk.asterisk.pace(A_SECOND)
        began = trio.current_time()
        await come(desk, burst, within=1.0)
        assert desk.reception.stays.active < 5 + 10, "neither who waits nor who is refused is a call"
        await decided(desk, burst, LONGEST_WAIT + 1.0)
        refused, served = back(desk, burst), up(desk, burst)
        assert len(served) >= 25
        assert served == sorted(served), "oldest first"
        assert {desk.left_with(caller) for caller in refused} == {"refused:busy"}
        in_twelve = [caller for caller in refused if desk.asterisk.continued_at[caller] - began <= 12.0]
        assert len(in_twelve) >= len(refused) - 3, "but for a few of whom it shows later that it takes too long"
        assert [heard.longest_gap for heard in listened(desk, 5, began)] == pytest.approx([FRAME] * 5, abs=1e-6)
        assert desk.reception.stays.active == 5 + len(served)
        await all_hang_up(desk, [*talking, *burst])


async def test_no_set_up_is_begun_while_hand_backs_wait(tmp_path: Path, autojump_clock: MockClock) -> None:
    burst = callers(100, 150)
    async with open_for_callers(tmp_path, calls=Calls(max_calls=500)) as desk:
        desk.asterisk.pace(A_SECOND)
        await come(desk, burst)
        await desk.until(lambda: len(back(desk, burst)) > 20)
        begun = len(desk.asterisk.asked("*/answer"))
        await desk.until(lambda: desk.client.hand_backs.waiting == 0)
        assert len(desk.asterisk.asked("*/answer")) <= begun + 1
        await decided(desk, burst, LONGEST_WAIT + 1.0)
        await all_hang_up(desk, burst)


async def test_where_12_seconds_are_too_few_the_dialplan_is_not_told_why(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    burst = callers(100, 200)
    async with open_for_callers(tmp_path, calls=Calls(max_calls=500)) as desk:
        desk.asterisk.pace(A_SECOND / 2)
        began = trio.current_time()
        await come(desk, burst, within=1.0)
        await desk.until(lambda: desk.client.hand_backs.channels)
        owed_at = trio.current_time()
        assert owed_at - began < 2.5
        assert await settled(desk, owed_at) <= 13.0, "they would take 19 s"
        untold = [caller for caller in desk.asterisk.continued if caller not in desk.asterisk.variables]
        assert 50 < len(untold) < len(back(desk, burst))
        assert desk.metrics.hand_backs_untold._value.get() == len(untold)
        await all_hang_up(desk, burst)


async def test_without_the_variable_195_callers_go_on_within_6_seconds(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_back, "TOLD_WITHIN", 0.0)
    burst = callers(100, 195)
    async with open_for_callers(tmp_path, calls=Calls(max_calls=0)) as desk:
        desk.asterisk.pace(A_SECOND)
        began = trio.current_time()
        await come(desk, burst)
        assert await settled(desk, began) <= 6.0
        assert back(desk, burst) == burst
        assert desk.results("refused:busy") == 195


async def test_of_40_callers_at_once_all_come_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    burst = callers(100, 40)
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.pace(A_SECOND)
        await come(desk, burst)
        assert await decided(desk, burst, 10.0) < 8.0
        assert len(up(desk, burst)) == 40
        assert not desk.asterisk.continued
        assert len(desk.agent.sessions) == 40
        await all_hang_up(desk, burst)


async def test_callers_who_wait_count_for_no_call_and_who_finds_no_room_in_the_end_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    burst = callers(100, 30)
    async with open_for_callers(tmp_path, calls=Calls(max_calls=10)) as desk:
        desk.asterisk.pace(A_SECOND)
        await come(desk, burst)
        await trio.sleep(0.1)
        assert (desk.reception.stays.active, desk.reception.line.length) == (4, 26)
        await decided(desk, burst, 10.0)
        assert up(desk, burst) == burst[:10]
        assert {desk.left_with(caller) for caller in burst[10:]} == {"refused:busy"}
        assert desk.refused("max_calls") == 20
        await all_hang_up(desk, burst)


async def test_a_caller_who_hangs_up_while_they_wait_leaves_their_place(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    burst = callers(100, 12)
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.pace(A_SECOND)
        await come(desk, burst)
        await trio.sleep(0.1)
        for caller in burst[6:]:
            desk.hang_up(caller)
        await desk.until(lambda: desk.reception.line.length <= 2)
        assert desk.results("caller-hung-up") == 6
        await decided(desk, burst[:6], 5.0)
        assert not desk.asterisk.asked(f"POST /channels/{burst[6]}/*"), "nothing was asked about them"
        await all_hang_up(desk, burst)


async def test_callers_who_wait_when_agentd_is_stopped_go_on_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    burst = callers(100, 30)
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.pace(A_SECOND)
        await come(desk, burst)
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.reception.stays.drain, 5.0, 5.0)
            await trio.sleep(3.0)
            assert {desk.left_with(caller) for caller in burst[4:]} == {"refused:draining"}
        assert {desk.left_with(caller) for caller in burst[:4]} == {"shutdown"}


async def test_callers_of_an_asterisk_that_has_become_slow_go_on_once_it_answers_and_new_ones_are_served(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    talking, burst, later = callers(0, 2), callers(100, 40), callers(200, 3)
    async with open_for_callers(tmp_path) as desk:
        await come(desk, talking)
        await desk.until(lambda: len(up(desk, talking)) == 2)
        began = trio.current_time()
        desk.asterisk.slow("*", 9.0)
        await come(desk, burst, within=2.0)
        await trio.sleep(STRAINED_PATIENCE + 2.0)
        assert desk.reception.line.length == 0
        assert desk.reception.stays.active <= 2 + 4, "set-ups that were under way before it showed"
        assert desk.refused("asterisk") >= 36
        await trio.sleep(20.0)
        assert [heard.longest_gap for heard in listened(desk, 2, began)] == pytest.approx([FRAME] * 2, abs=1e-6)
        desk.asterisk.rules.clear()
        with trio.fail_after(30.0):
            await desk.until(lambda: len(back(desk, burst)) == 40)
        await come(desk, later)
        assert await decided(desk, later, 10.0) < 8.0
        assert up(desk, later) == later
        await all_hang_up(desk, [*talking, *burst, *later])


async def test_an_asterisk_that_can_do_nothing_now_is_tried_by_one_set_up_at_a_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    burst, later = callers(100, 40), callers(200, 10)
    async with open_for_callers(tmp_path) as desk:
        desk.asterisk.rule("*", Answer.refusal(503, "not now"))
        await come(desk, burst, within=4.0)
        await trio.sleep(STRAINED_PATIENCE + 1.0)
        assert len(set(desk.asterisk.asked("*/answer"))) < 12, "the others were spared"
        assert desk.reception.stays.active <= 1
        desk.asterisk.rules.clear()
        await decided(desk, burst, 20.0)
        assert len(back(desk, burst)) > 20
        await come(desk, later)
        assert await decided(desk, later, 10.0) < 6.0
        assert up(desk, later) == later
        assert desk.reception.line.window.size >= 1.0
        await all_hang_up(desk, [*burst, *later])


async def test_no_call_is_begun_while_the_lines_of_others_are_late(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_for_callers(tmp_path) as desk:
        await come(desk, ["1700000000.0001"])
        await desk.until(lambda: up(desk, ["1700000000.0001"]))

        async def be_late() -> None:
            while True:
                for _ in range(10):
                    desk.metrics.line_lateness_seconds.observe(0.05)
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_late)
            desk.reception.line.settle()
            await trio.sleep(1.5)
            desk.reception.line.settle()
            desk.call(caller="1700000000.0002")
            await trio.sleep(2.0)
            assert desk.reception.line.length == 1
            assert not desk.stranger()[1]
            await desk.until(lambda: desk.left_with("1700000000.0002") == "refused:busy")
            assert desk.refused("lines") == 1
            desk.call(caller="1700000000.0003")
            await trio.sleep(1.0)
            nursery.cancel_scope.cancel()
        await desk.until(lambda: up(desk, ["1700000000.0003"]))
        await all_hang_up(desk, ["1700000000.0001", "1700000000.0003"])


@attrs.frozen
class Day:
    """What became of callers who came and came: seconds from their coming until they were served, or in the dialplan
    again."""

    served: Sequence[float]
    refused: Sequence[float]
    talked: Sequence[Listened]
    """The lines of calls that were up before."""


async def a_minute_of(desk: FrontDesk, a_second: float, each_talks: float = 3.0) -> Day:
    """So many callers come each second; who is served hangs up after a while."""
    talking, crowd = callers(0, 5), callers(100, int(60 * a_second))
    came, served = dict[str, float](), dict[str, float]()

    async def visit(caller: str) -> None:
        came[caller] = trio.current_time()
        desk.call(caller=caller)
        while caller in desk.asterisk.in_app:
            await trio.sleep(0.1)
            if up(desk, [caller]):
                served[caller] = trio.current_time() - came[caller]
                await trio.sleep(each_talks)
                desk.hang_up(caller)

    await come(desk, talking)
    await desk.until(lambda: len(up(desk, talking)) == 5)
    desk.asterisk.pace(A_SECOND)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for caller in crowd:
            nursery.start_soon(visit, caller)
            await trio.sleep(1.0 / a_second)
        meanwhile = listened(desk, 5, began)
    refused = [desk.asterisk.continued_at[caller] - came[caller] for caller in back(desk, crowd)]
    assert len(served) + len(refused) == len(crowd)
    await all_hang_up(desk, talking)
    return Day(list(served.values()), refused, meanwhile)


@pytest.mark.parametrize(("a_second", "can_be_served"), [(20, 109), (30, 54)])
async def test_while_more_callers_come_than_asterisk_can_bear_some_are_served_and_the_others_do_not_wait_for_long(
    a_second: float, can_be_served: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """At 20 a second their hand-backs took all of 40 requests, and from then on nobody was served.

    A caller who is sent away takes one request, and one who is served 12: so many can be served in a minute.
    """
    async with open_for_callers(tmp_path, calls=Calls(max_calls=500)) as desk:
        day = await a_minute_of(desk, a_second)
        assert len(day.served) >= can_be_served * 0.9
        assert max(day.served) <= LONGEST_WAIT
        assert max(day.refused) <= 10.0
        assert [heard.longest_gap for heard in day.talked] == pytest.approx([FRAME] * 5, abs=1e-6)
        assert desk.results("refused:busy") == len(day.refused)
