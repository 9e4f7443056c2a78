"""How far Asterisk's queue is ahead: what is taken for heard was heard, and nothing is lost by taking frames back."""

from collections import deque
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.chan_websocket.ahead import MARK_EVERY, Ahead
from agentd.media.leg import LONGEST_LEAD

FRAME = 0.02
unhurried = settings(deadline=None)


# --- by hand


def test_before_the_first_report_nothing_was_heard() -> None:
    ahead = Ahead()
    assert ahead.frames(0.0) == 0
    assert ahead.give(0.0) == "0.0"
    assert ahead.give(0.0) == ""
    assert ahead.frames(5.0) == 2


def test_from_a_report_on_a_frame_is_heard_every_20_ms() -> None:
    ahead = Ahead()
    for _ in range(5):
        ahead.give(0.0)
    ahead.reported("0.0", 1.0)
    assert [ahead.frames(1.0 + after) for after in (0.0, 0.019, 0.021, 0.05, 0.9)] == [4, 4, 3, 2, 0]


def test_a_full_lead_has_one_mark_in_it() -> None:
    ahead = Ahead()
    marks = [ahead.give(0.0) for _ in range(3 * LONGEST_LEAD)]
    assert [at for at, mark in enumerate(marks) if mark] == [0, LONGEST_LEAD, 2 * LONGEST_LEAD]


def test_no_frame_behind_a_mark_is_heard_before_its_report() -> None:
    """Asterisk's clock may come late, or not at all."""
    ahead = Ahead()
    for _ in range(MARK_EVERY):
        ahead.give(0.0)
    ahead.reported("0.0", 0.0)
    for _ in range(5):
        ahead.give(0.05)
    assert ahead.frames(60.0) == 5
    ahead.reported(f"0.{MARK_EVERY}", 60.0)
    assert ahead.frames(60.0) == 4


def test_a_queue_that_was_empty_has_its_next_frame_marked() -> None:
    ahead = Ahead()
    ahead.give(0.0)
    ahead.reported("0.0", 0.01)
    assert ahead.frames(1.0) == 0
    assert ahead.give(1.0) == "0.1"
    assert ahead.frames(1.5) == 1, "when it will be taken out is not known"


def test_what_is_taken_back_gives_its_numbers_to_what_comes_next() -> None:
    ahead = Ahead()
    for _ in range(6):
        ahead.give(0.0)
    ahead.reported("0.0", 0.0)
    assert ahead.take_back(0.05) == 3
    assert ahead.frames(9.0) == 0
    assert ahead.take_back(9.0) == 0
    assert ahead.give(9.0) == "1.3"


@pytest.mark.parametrize("report", ["0.0", "7.7", "", "1.", "1.0", "x" * 200])
def test_a_report_of_before_a_flush_or_of_a_mark_that_never_was_changes_nothing(report: str) -> None:
    ahead = Ahead()
    for _ in range(4):
        ahead.give(0.0)
    ahead.take_back(0.0)
    ahead.give(0.1)
    ahead.give(0.1)
    if report != "1.0":
        ahead.reported(report, 0.1)
        assert ahead.frames(0.5) == 2
    ahead.reported("1.0", 0.2)
    assert ahead.frames(0.2) == 1


def test_a_report_that_was_lost_is_made_good_by_the_next() -> None:
    ahead = Ahead()
    for _ in range(2 * MARK_EVERY):
        ahead.give(0.0)
    ahead.reported(f"0.{MARK_EVERY}", 0.2)
    assert ahead.frames(0.2) == MARK_EVERY - 1
    ahead.reported("0.0", 0.3)
    assert ahead.frames(0.21) == MARK_EVERY - 1


def test_a_drained_queue_makes_good_for_marks_that_are_never_reported() -> None:
    ahead = Ahead()
    for _ in range(LONGEST_LEAD):
        ahead.give(0.0)
    ahead.asked()
    ahead.drained(0.5)
    assert ahead.frames(0.5) == 0
    assert ahead.give(0.5)


def test_what_was_given_after_a_report_was_asked_for_may_be_in_the_queue_that_was_drained_before() -> None:
    ahead = Ahead()
    ahead.give(0.0)
    ahead.asked()
    for _ in range(4):
        ahead.give(0.1)
    ahead.drained(0.1)
    assert ahead.frames(0.5) == 4
    ahead.take_back(0.5)
    ahead.give(0.6)
    ahead.drained(0.6)
    assert ahead.frames(0.6) == 1, "what was asked before a flush tells nothing of what came behind it"


# --- against a queue that plays


@attrs.define
class Line:
    """Both ends: what is sent arrives `latency` later, as do reports; the queue's clock has a phase of its own.

    Each frame is its place in what there is to say, from where the speaker is."""

    latency: float
    phase: float
    late: Callable[[int], float] = lambda tick: 0.0
    ahead: Ahead = attrs.field(factory=Ahead)
    now: float = 0.0
    says: int = 0
    heard: list[int] = attrs.field(factory=list)
    taken_back: int = 0
    doubtful: int = 0
    """The most that was heard beyond what was taken for heard."""
    _queue: deque[int | str] = attrs.field(factory=deque)
    _to_queue: deque[tuple[float, int | str]] = attrs.field(factory=deque)
    _to_agentd: deque[tuple[float, str]] = attrs.field(factory=deque)
    _tick: int = 0

    def send(self, most: int) -> None:
        while self.ahead.frames(self.now) < most:
            if mark := self.ahead.give(self.now):
                self._to_queue.append((self.now + self.latency, mark))
            self._to_queue.append((self.now + self.latency, self.says))
            self.says += 1

    def take_back(self) -> None:
        if count := self.ahead.take_back(self.now):
            self.says -= count
            self.taken_back += 1
            self._to_queue.append((self.now + self.latency, "flush"))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            tick = self.phase + self._tick * FRAME + self.late(self._tick)
            times = [tick, *(way[0][0] for way in (self._to_queue, self._to_agentd) if way)]
            self.now = min(times)
            if self.now > end:
                self.now = end
                break
            if self._to_queue and self._to_queue[0][0] <= self.now:
                what = self._to_queue.popleft()[1]
                if what == "flush":
                    self._queue.clear()
                else:
                    self._queue.append(what)
            elif self._to_agentd and self._to_agentd[0][0] <= self.now:
                self.ahead.reported(self._to_agentd.popleft()[1], self.now)
            else:
                self._tick += 1
                while self._queue and isinstance(self._queue[0], str):
                    self._to_agentd.append((self.now + self.latency, str(self._queue.popleft())))
                if self._queue:
                    self.heard.append(int(self._queue.popleft()))
        taken_for_heard = self.says - self.ahead.frames(self.now)
        self.doubtful = max(self.doubtful, len({*self.heard}) - taken_for_heard)


acts = st.lists(
    st.tuples(st.just("wait"), st.integers(1, 400).map(lambda ms: ms / 1000))
    | st.tuples(st.just("send"), st.integers(1, LONGEST_LEAD))
    | st.tuples(st.just("take back"), st.just(0)),
    max_size=60,
)


@unhurried
@given(acts, st.floats(0.0001, 0.008), st.floats(0.0, 0.02))
def test_whatever_is_sent_waited_for_and_taken_back_no_frame_is_lost_and_one_a_flush_is_heard_twice(
    script: list[tuple[str, float]], latency: float, phase: float
) -> None:
    line = Line(latency, phase)
    for act, value in script:
        match act:
            case "wait":
                line.wait(value)
            case "send":
                line.send(int(value))
            case _:
                line.take_back()
    line.wait(1.0)
    assert line.heard == sorted(line.heard), "in order"
    assert {*range(line.says)} <= {*line.heard} <= {*range(line.says + 1)}, "all of it, but for one on its way"
    assert len(line.heard) - len({*line.heard}) <= line.taken_back
    assert line.doubtful <= 1


@unhurried
@given(st.lists(st.floats(0.0, 0.3), max_size=8), st.integers(2, LONGEST_LEAD))
def test_where_asterisk_s_clock_stands_still_no_more_waits_than_the_lead_and_what_lies_between_two_marks(
    stalls: list[float], lead: int
) -> None:
    behind: dict[int, float] = {}
    total = 0.0
    for tick in range(400):
        total += stalls[tick // 40] if tick % 40 == 20 and tick // 40 < len(stalls) else 0.0
        behind[tick] = total
    line = Line(0.001, 0.007, lambda tick: behind[min(tick, 399)])
    for _ in range(250):
        line.send(lead)
        line.wait(0.02)
        assert len(line._queue) <= lead + MARK_EVERY
    line.wait(2.0)
    assert line.heard == [*range(line.says)]
