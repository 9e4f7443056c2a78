"""Whether one more call is set up now: the judgement of one moment, and what many moments make of it."""

import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.ari.owed import AT_ONCE_OVERLOADED
from agentd.service.admittance import Cause
from agentd.service.pressure import (
    FIRST_WINDOW,
    LASTING,
    LONGEST_BESIDE,
    LONGEST_PAUSE,
    LONGEST_QUEUE,
    LONGEST_WAIT,
    LULL,
    MOST_BESIDE,
    QUICK,
    SLOW,
    STRAINED_PATIENCE,
    STUCK,
    WIDEST_WINDOW,
    Overload,
    Pressure,
    Turn,
    Window,
    beside,
    judge,
)

CALM = Pressure(window=4, set_up=0.5)
seconds = st.floats(0.0, 100.0)
pressures = st.builds(
    Pressure,
    under_way=st.integers(0, 20),
    window=st.integers(1, 16),
    set_up=st.none() | st.floats(0.0, 20.0),
    paused=st.booleans(),
    hand_backs=st.integers(0, 300),
    hand_backs_last=seconds,
    overload=st.booleans(),
    unanswered=st.floats(0.0, 20.0),
    lines_late=st.booleans(),
)


@pytest.mark.parametrize(
    ("pressure", "in_front", "waited", "expected"),
    [
        ({}, 0, 0.0, Turn.BEGIN),
        ({"set_up": None}, 0, 0.0, Turn.BEGIN),
        ({}, 1, 0.0, Turn.WAIT),
        ({"under_way": 3}, 0, 0.0, Turn.BEGIN),
        ({"under_way": 4}, 0, 0.0, Turn.WAIT),
        ({"hand_backs": 1, "hand_backs_last": 0.5}, 0, 0.0, Turn.WAIT),
        # what is far away is refused at once, if it is known to be far
        ({"under_way": 4, "set_up": 1.0}, 31, 0.0, Turn.WAIT),
        ({"under_way": 4, "set_up": 1.0}, 32, 0.0, Cause.QUEUE),
        ({"under_way": 4, "set_up": None}, 1000, 0.0, Turn.WAIT),
        ({"hand_backs": 80, "hand_backs_last": 14.0}, 0, 0.9, Turn.WAIT),
        ({"hand_backs": 80, "hand_backs_last": 14.0}, 0, 1.1, Cause.QUEUE),
        # in a lasting overload, some are served beside hand-backs
        ({"hand_backs": 80, "hand_backs_last": 3.0, "overload": True, "under_way": 3}, 0, 0.0, Turn.BEGIN),
        ({"hand_backs": 80, "hand_backs_last": 3.0, "overload": True, "under_way": 4}, 0, 0.0, Turn.WAIT),
        ({"hand_backs": 80, "hand_backs_last": 5.0, "overload": True, "under_way": 1}, 0, 0.0, Turn.WAIT),
        ({"hand_backs": 80, "hand_backs_last": 60.0, "overload": True}, 0, 0.0, Turn.BEGIN),
        ({"hand_backs": 80, "hand_backs_last": 60.0, "overload": True, "under_way": 1}, 0, 0.0, Turn.WAIT),
        ({"hand_backs": 80, "hand_backs_last": 60.0, "overload": True}, 17, 0.0, Cause.QUEUE),
        # an Asterisk that is stuck is tried by one
        ({"unanswered": STUCK + 0.1}, 0, 0.0, Turn.BEGIN),
        ({"unanswered": STUCK + 0.1, "under_way": 1}, 0, 0.0, Turn.WAIT),
        ({"unanswered": STUCK + 0.1, "under_way": 1}, 0, STRAINED_PATIENCE, Cause.ASTERISK),
        ({"paused": True}, 0, 0.0, Turn.WAIT),
        ({"paused": True}, 0, STRAINED_PATIENCE, Cause.ASTERISK),
        # a host that is too busy is left alone
        ({"lines_late": True}, 0, 0.0, Turn.WAIT),
        ({"lines_late": True}, 0, STRAINED_PATIENCE, Cause.LINES),
    ],
)
def test_a_caller_begins_waits_or_is_refused(
    pressure: dict[str, object], in_front: int, waited: float, expected: Turn | Cause
) -> None:
    assert judge(attrs.evolve(CALM, **pressure), in_front, waited) is expected


@given(pressures, st.integers(0, 300), seconds)
def test_nobody_begins_before_who_came_earlier_before_hand_backs_of_a_burst_or_beyond_the_window(
    pressure: Pressure, in_front: int, waited: float
) -> None:
    if judge(pressure, in_front, waited) is Turn.BEGIN:
        assert in_front == 0
        assert pressure.hand_backs == 0 or pressure.overload
        assert pressure.under_way < pressure.window
        assert not pressure.lines_late
        assert not pressure.paused


@given(pressures, st.integers(0, 300), seconds)
def test_nobody_waits_for_longer_than_is_promised(pressure: Pressure, in_front: int, waited: float) -> None:
    if judge(pressure, in_front, waited) is Turn.WAIT:
        assert waited <= LONGEST_WAIT
        if pressure.strain is not None:
            assert waited < STRAINED_PATIENCE


@given(pressures, st.integers(0, 300), seconds)
def test_who_is_refused_would_not_have_been_let_in_further_back(
    pressure: Pressure, in_front: int, waited: float
) -> None:
    if isinstance(judge(pressure, in_front, waited), Cause):
        assert isinstance(judge(pressure, in_front + 1, waited), Cause)


@given(st.integers(1, 300), seconds)
def test_in_an_overload_set_ups_have_a_share_which_is_less_the_longer_hand_backs_last_and_never_nothing(
    hand_backs: int, last: float
) -> None:
    pressure = attrs.evolve(CALM, window=16, hand_backs=hand_backs, hand_backs_last=last, overload=True)
    begun = 0
    while judge(attrs.evolve(pressure, under_way=begun), 0, 0.0) is Turn.BEGIN:
        begun += 1
    assert 1 <= begun <= MOST_BESIDE
    assert begun == 1 or last < LONGEST_BESIDE
    assert beside(last + 1.0) <= beside(last)


@given(
    a_second=st.floats(10.0, 200.0),
    share=st.floats(0.05, 1.5),
    calls_take=st.integers(8, 13),
    minutes=st.integers(1, 3),
)
def test_whatever_comes_asterisk_s_answers_go_to_set_ups_too_and_to_all_hand_backs_that_they_suffice_for(
    a_second: float, share: float, calls_take: int, minutes: int
) -> None:
    """A model of it: Asterisk answers the requests of set-ups and of hand-backs (one each) in turn; new callers are a
    share of what it can answer."""
    step, came, backlog, served = 0.1, share * a_second, 0.0, 0.0
    for _ in range(int(minutes * 60 / step)):
        set_ups = beside(backlog / a_second)
        fraction = set_ups / (set_ups + AT_ONCE_OVERLOADED)
        set_up = a_second * fraction / calls_take * step
        served += set_up
        backlog = max(0.0, backlog + came * step - set_up - a_second * (1.0 - fraction) * step)
    assert served > 0
    if share <= 0.75:
        assert backlog / a_second <= LONGEST_BESIDE, "seconds until the last one who is owed it is handed back"


def test_it_is_an_overload_once_callers_who_are_refused_have_come_for_longer_than_a_burst_lasts() -> None:
    overload = Overload()
    assert not overload.lasts(0.0)
    for tenth in range(int(LASTING * 10) + 1):
        assert not overload.lasts(100.0 + tenth / 10)
        overload.refused(100.0 + tenth / 10)
    now = 100.0 + LASTING
    assert overload.lasts(now)
    assert overload.lasts(now + LULL)
    assert not overload.lasts(now + LULL + 0.1)
    overload.refused(now + 2 * LULL)
    assert not overload.lasts(now + 2 * LULL), "it begins anew"


def test_a_burst_is_none_however_long_it_takes_until_its_callers_are_refused() -> None:
    overload = Overload()
    for came in range(200):
        overload.refused(100.0 + came / 200)
        assert not overload.lasts(100.0 + came)


@given(st.integers(1, 16), st.floats(0.05, 10.0), st.integers(0, 300))
def test_the_queue_is_no_longer_than_its_callers_can_be_served_in(window: int, set_up: float, callers: int) -> None:
    pressure = Pressure(under_way=window, window=window, set_up=set_up)
    admitted = [judge(pressure, in_front, 0.0) for in_front in range(callers)].count(Turn.WAIT)
    assert admitted * set_up / window <= LONGEST_QUEUE + 1e-9


def test_the_window_widens_by_one_a_round_that_is_quick_and_halves_after_one_that_is_slow() -> None:
    window = Window()
    assert window.places == FIRST_WINDOW
    for _ in range(5):
        window.came_up(0.0, QUICK, crowded=False)
    assert window.places == 5
    for _ in range(5):
        window.came_up(10.0, 10.0 + SLOW + 0.1, crowded=False)
    assert window.places == 2, "once for all that were under way together"
    window.timed_out(20.0, 25.0)
    window.timed_out(30.0, 35.0)
    assert window.places == 1


def test_a_set_up_beside_hand_backs_tells_nothing_of_how_long_one_takes_otherwise() -> None:
    window = Window()
    window.came_up(0.0, 9.0, crowded=True)
    assert (window.set_up, window.size) == (None, FIRST_WINDOW)


def test_what_a_set_up_takes_is_known_at_once_where_it_takes_longer_and_forgotten_by_and_by() -> None:
    window = Window()
    window.came_up(0.0, 0.1, crowded=False)
    window.came_up(0.0, 0.9, crowded=False)
    assert window.set_up == 0.9
    window.came_up(0.0, 0.1, crowded=False)
    assert window.set_up == pytest.approx(0.7)


def test_set_ups_that_asterisk_fails_are_tried_less_and_less_often_until_one_comes_up() -> None:
    window, now, pauses = Window(), 0.0, []
    for _ in range(6):
        window.failed(began=now, now=now)
        closed = now
        while window.paused(closed):
            closed += 0.25
        pauses.append(closed - now)
        now = closed
    assert pauses == [0.5, 1.0, 2.0, 4.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert window.places == 1
    window.came_up(now, now + 0.1, crowded=False)
    window.failed(began=now + 1.0, now=now + 1.0)
    assert not window.paused(now + 1.5)


@given(st.lists(st.tuples(st.sampled_from(["came_up", "timed_out", "failed"]), st.floats(0.0, 30.0), st.booleans())))
def test_the_window_is_never_shut_and_never_wide(happened: list[tuple[str, float, bool]]) -> None:
    window, now = Window(), 0.0
    for what, took, crowded in happened:
        began, now = now, now + took
        if what == "came_up":
            window.came_up(began, now, crowded)
        else:
            getattr(window, what)(began, now)
        assert 1 <= window.places <= WIDEST_WINDOW
        assert not window.paused(now + LONGEST_PAUSE)
        assert window.set_up is None or math.isfinite(window.set_up)


@given(
    a_second=st.floats(5.0, 500.0), each=st.integers(7, 9), callers=st.integers(1, 200), latency=st.floats(0.001, 0.1)
)
def test_at_whatever_pace_asterisk_answers_nobody_s_set_up_takes_long(
    a_second: float, each: int, callers: int, latency: float
) -> None:
    """A model of it: requests of all set-ups under way are answered in turn, `a_second` of them, `latency` at least."""
    window, now, queue = Window(), 0.0, callers
    durations = []
    while queue:
        round_of = min(window.places, queue)
        queue -= round_of
        began, now = now, now + each * max(round_of / a_second, latency)
        durations.append(now - began)
        for _ in range(round_of):
            window.came_up(began, now, crowded=False)
    bearable = max(SLOW, each * max(2.0 / a_second, latency))
    learnt = durations[int(math.log2(WIDEST_WINDOW)) :]
    assert all(duration <= bearable * 1.5 for duration in learnt)
