"""The clock that lines share: on time each, and none in another's way."""

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from agentd.calls.fields import begin_call_fields, merge_call_fields
from agentd.media.clock import GROUP, SLOT_SECONDS, SLOTS, LineClock
from agentd.metrics import Metrics

FRAME = 0.02


class Line:
    """A line that takes note of when it is asked."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.numbers: list[int] = []
        self.looks: list[float] = []

    def tick(self, number: int, now: float) -> str | None:
        self.numbers.append(number)
        self.ticks.append(now)
        return None

    def between(self, now: float) -> str | None:
        self.looks.append(now)
        return None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def clock(metrics: Metrics) -> LineClock:
    return LineClock(metrics)


def value(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"agentd_{name}") or 0.0


async def test_a_line_ticks_at_once_and_then_every_20_ms_and_is_asked_half_way(
    clock: LineClock, autojump_clock: MockClock
) -> None:
    line = Line()
    await trio.sleep(0.123)
    with trio.move_on_after(0.095):
        await clock.keep(line.tick, line.between)
    assert line.ticks == pytest.approx([0.123 + n * FRAME for n in range(5)])
    assert line.numbers == [0, 1, 2, 3, 4]
    assert line.looks == pytest.approx([0.133 + n * FRAME for n in range(5)])


async def test_what_a_tick_gives_or_raises_is_its_own_line_s(clock: LineClock, autojump_clock: MockClock) -> None:
    others = [Line() for _ in range(8)]
    ended: dict[str, object] = {}

    def fails(number: int, _now: float) -> str | None:
        if number == 10:
            raise KeyError("a defect")
        return None

    def ends_half_way(_now: float) -> str | None:
        return "half-way" if trio.current_time() > 0.3 else None

    async def failing() -> None:
        with pytest.raises(KeyError):
            await clock.keep(fails)
        ended["fails"] = trio.current_time()

    async def ending() -> None:
        ended["gives"] = await clock.keep(lambda _number, _now: None, ends_half_way)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(failing)  # it leads first
        await trio.sleep(0.001)
        for line in others[:4]:
            nursery.start_soon(clock.keep, line.tick, line.between)
        nursery.start_soon(ending)
        for line in others[4:]:
            nursery.start_soon(clock.keep, line.tick, line.between)
        await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    assert ended == {"fails": pytest.approx(0.2), "gives": "half-way"}
    for line in others:
        gaps = [after - before for before, after in zip(line.ticks[1:], line.ticks[2:], strict=False)]
        assert gaps == pytest.approx([FRAME] * len(gaps))
        assert len(line.ticks) in (50, 51)


async def test_the_line_that_leads_may_be_cancelled_at_any_moment_and_so_may_the_next(
    clock: LineClock, autojump_clock: MockClock
) -> None:
    lines = [Line() for _ in range(20)]
    scopes = [trio.CancelScope() for _ in lines]

    async def keep(line: Line, scope: trio.CancelScope) -> None:
        with scope:
            await clock.keep(line.tick, line.between)

    async with trio.open_nursery() as nursery:
        for line, scope in zip(lines, scopes, strict=True):
            nursery.start_soon(keep, line, scope)
        for gone in range(1, len(lines)):
            await trio.sleep(0.0503)
            for scope in scopes[:gone] if gone % 3 == 0 else ():  # several at one moment
                scope.cancel()
        left = [line for line, scope in zip(lines, scopes, strict=True) if not scope.cancel_called]
        assert left
        for line in left:
            gaps = [after - before for before, after in zip(line.ticks[1:], line.ticks[2:], strict=False)]
            assert gaps == pytest.approx([FRAME] * len(gaps))
            assert trio.current_time() - line.ticks[-1] <= FRAME
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("lines", "slots"),
    [(1, {1}), (2, {1}), (2 * GROUP, {GROUP}), (3 * GROUP, {GROUP, GROUP // 2}), (16 * GROUP, {4 * GROUP})],
)
async def test_lines_share_two_slots_and_lie_evenly_in_all_where_there_are_many(
    clock: LineClock, autojump_clock: MockClock, lines: int, slots: set[int]
) -> None:
    served = [Line() for _ in range(lines)]
    async with trio.open_nursery() as nursery:
        for line in served:
            nursery.start_soon(clock.keep, line.tick)
            await trio.sleep(0.0031)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    for line in served:
        assert line.ticks[1] - line.ticks[0] <= FRAME + 1e-6, "no line begins with a gap"
    places = Counter(round(line.ticks[-1] % FRAME / SLOT_SECONDS) % SLOTS for line in served)
    assert set(places.values()) == slots


async def test_a_clock_that_is_late_goes_on_from_now_and_numbers_what_it_leaves_out(
    clock: LineClock, metrics: Metrics, autojump_clock: MockClock
) -> None:
    lines = [Line(), Line()]
    async with trio.open_nursery() as nursery:
        for line in lines:
            nursery.start_soon(clock.keep, line.tick)
        await trio.sleep(0.0999)
        autojump_clock.jump(0.5)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    for line in lines:
        begun, *later = [number for number, at in zip(line.numbers, line.ticks, strict=True) if at > 0.5]
        assert later == list(range(begun + 1, begun + 1 + len(later))), "no burst"
        assert 28 <= begun <= 30
        first = next(at for at in line.ticks if at > 0.5)
        assert first - 0.6 < 0.005
    assert value(metrics, "line_frames_skipped_total") == pytest.approx(2 * 24, abs=2)


async def test_a_clock_that_is_a_frame_late_leaves_nothing_out(
    clock: LineClock, metrics: Metrics, autojump_clock: MockClock
) -> None:
    line = Line()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.keep, line.tick)
        await trio.sleep(0.0999)
        autojump_clock.jump(0.03)
        await trio.sleep(0.0602)
        nursery.cancel_scope.cancel()
    assert line.numbers == list(range(10))
    assert value(metrics, "line_frames_skipped_total") == 0


async def test_lateness_is_measured_for_each_frame_but_the_first(
    clock: LineClock, metrics: Metrics, autojump_clock: MockClock
) -> None:
    line = Line()
    with trio.move_on_after(0.995):
        await clock.keep(line.tick)
    assert value(metrics, "line_lateness_seconds_count") == len(line.ticks) - 1 == 49


async def test_what_a_line_logs_tells_whose_line_it_is(clock: LineClock, autojump_clock: MockClock) -> None:
    told: list[tuple[str, str]] = []

    async def call(call_id: str) -> None:
        begin_call_fields(call_id=call_id)

        def tick(_number: int, _now: float) -> None:
            told.append((call_id, merge_call_fields(None, "info", {})["call_id"]))

        await clock.keep(tick)

    with trio.move_on_after(0.1):
        async with trio.open_nursery() as nursery:
            for call_id in ("one", "two", "three"):
                nursery.start_soon(call, call_id)
    assert len(told) > 10
    assert all(whose == named for whose, named in told)


async def test_a_clock_without_lines_stands_still_and_begins_anew(
    clock: LineClock, metrics: Metrics, autojump_clock: MockClock
) -> None:
    for begin in (0.0, 100.0):
        await trio.sleep_until(begin)
        line = Line()
        with trio.move_on_after(0.05):
            await clock.keep(line.tick)
        assert line.ticks == pytest.approx([begin, begin + FRAME, begin + 2 * FRAME])
    assert value(metrics, "line_frames_skipped_total") == 0
