"""When a part that failed is started again."""

from itertools import pairwise

from agentd.service.restarts import FIRST_DELAY, LONGEST_DELAY, SETTLED_AFTER, RestartSchedule
from agentd.service.supervisor import PROGRESS_LIMITS


def test_each_pause_is_twice_as_long_as_the_one_before_up_to_a_bound() -> None:
    schedule = RestartSchedule()
    pauses = [schedule.pause(was_up=0.0) for _ in range(12)]
    assert pauses[0] == FIRST_DELAY
    assert all(later == min(earlier * 2, LONGEST_DELAY) for earlier, later in pairwise(pauses))
    assert pauses[-1] == LONGEST_DELAY


def test_a_part_that_was_up_for_a_while_fails_for_the_first_time_again() -> None:
    schedule = RestartSchedule()
    for _ in range(12):
        schedule.pause(was_up=SETTLED_AFTER - 1)
    assert schedule.pause(was_up=SETTLED_AFTER) == FIRST_DELAY


def test_no_pause_outlasts_the_watchdog() -> None:
    assert all(limit >= LONGEST_DELAY for limit in PROGRESS_LIMITS.values())
