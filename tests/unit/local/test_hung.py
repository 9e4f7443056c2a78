"""When an engine is hung, told what was seen."""

from collections.abc import Iterable

import pytest

from agentd.deadlines import ENGINE_JOB, ENGINE_LENT_JOB, SESSION_STUCK, Deadline
from agentd_providers.local.hung import (
    ANSWER_WITHIN,
    FIRST_PAUSE,
    IDLE_LOOKS,
    LONGEST_PAUSE,
    LOOK_EVERY,
    PATIENCE,
    SMALL_JOB,
    Seen,
    Vigil,
    hearing_limit,
    pause_before_start,
    speaking_limit,
)

LIMIT = 4.0


def looks(processor: Iterable[float], faults: int = 0, *, runnable: bool = False) -> list[str]:
    """What is said of a process that has had so many seconds of a processor, look by look."""
    vigil = Vigil(LIMIT)
    return [
        vigil.look(number * LOOK_EVERY, Seen(seconds, faults, runnable)) for number, seconds in enumerate(processor)
    ]


def test_a_process_that_does_nothing_for_some_looks_is_hung_long_before_its_limit() -> None:
    assert ENGINE_JOB.seconds > IDLE_LOOKS * LOOK_EVERY
    assert looks([7.0] * (IDLE_LOOKS + 1)) == [""] * IDLE_LOOKS + ["it did nothing"]


def test_a_process_that_works_is_not_hung_before_its_limit() -> None:
    before = int(LIMIT / LOOK_EVERY)
    said = looks([number * LOOK_EVERY for number in range(before + 1)], runnable=True)
    assert said == [""] * before + ["not done within 4 s"]


def test_a_process_that_waits_for_its_disk_is_not_idle() -> None:
    vigil = Vigil(60.0)
    assert not any(vigil.look(number * LOOK_EVERY, Seen(1.0, number, runnable=False)) for number in range(50))


def test_a_process_that_does_a_little_now_and_then_is_hung_at_its_limit() -> None:
    said = looks([number // IDLE_LOOKS * 0.01 for number in range(20)])
    assert said[int(LIMIT / LOOK_EVERY)] == "not done within 4 s"


def test_a_process_that_is_given_no_processor_is_not_hung() -> None:
    """On a host that is overloaded, to load its model anew would make everything slower still."""
    assert not any(looks([5.0] * 100, runnable=True))
    assert not any(looks([5.0 + number * 0.01 for number in range(100)], runnable=True))


def test_one_that_had_half_of_its_limit_is_hung_all_the_same() -> None:
    said = looks([5.0 + number * LOOK_EVERY / 4 for number in range(100)], runnable=True)
    assert said.index("not done within 4 s") == pytest.approx(2 * LIMIT / LOOK_EVERY, abs=1)


def test_where_nothing_can_be_seen_only_the_limit_counts() -> None:
    vigil = Vigil(LIMIT)
    assert not any(vigil.look(number * LOOK_EVERY, None) for number in range(int(LIMIT / LOOK_EVERY)))
    assert vigil.look(LIMIT, None)


@pytest.mark.parametrize("job", [ENGINE_JOB, ENGINE_LENT_JOB])
def test_a_job_s_limit_follows_its_work(job: Deadline) -> None:
    assert hearing_limit(0, job) == speaking_limit("", job) == job.seconds
    assert job.seconds < hearing_limit(1.0, job) < hearing_limit(2.0, job) < job.most
    assert job.seconds < speaking_limit("Hello.", job) < speaking_limit("Hello, and welcome.", job) < job.most
    assert hearing_limit(3600, job) == speaking_limit("x" * 10_000, job) == job.most


def test_a_caller_s_patience_with_the_engine_ends_before_a_call_s_with_its_agent() -> None:
    assert SESSION_STUCK.seconds > PATIENCE


@pytest.mark.parametrize("found", [ENGINE_JOB.most, IDLE_LOOKS * LOOK_EVERY, ANSWER_WITHIN])
def test_who_waits_behind_a_hung_job_has_time_left_for_a_fresh_process(found: float) -> None:
    assert PATIENCE - found >= SMALL_JOB


def test_a_process_that_served_is_started_again_at_once_and_a_barren_one_ever_later() -> None:
    assert pause_before_start(0) == 0
    assert [pause_before_start(fruitless) for fruitless in (1, 2, 3)] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4]
    assert pause_before_start(1000) == LONGEST_PAUSE
