"""Who looks after a call: when nobody speaks, when the answer is slow, when the time is up."""

import math

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.conversation import events as happens
from agentd.conversation.liveness import Liveness, LivenessTimes
from agentd.conversation.machine import Agent, Caller, Conversation, Hold, Line

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

OFF = LivenessTimes(
    check_in_after=0.0, check_ins=0, slow_after=0.0, max_duration=0.0, warn_before=0.0, dead_air_after=0.0
)
TIMES = LivenessTimes(
    check_in_after=10.0, check_ins=2, slow_after=2.0, max_duration=100.0, warn_before=20.0, dead_air_after=20.0
)


def state(agent: Agent = Agent.IDLE, caller: Caller = Caller.SILENT, line: Line = Line.LIVE) -> Conversation:
    return Conversation(line, caller, agent)


def watching(times: LivenessTimes = TIMES, **first: object) -> Liveness:
    """A call that went live at second 0."""
    liveness = Liveness(times)
    liveness.observe(state(**first), 0.0)  # type: ignore[arg-type]
    return liveness


# --- silence


def test_a_silence_is_noticed_when_it_has_lasted_and_not_before() -> None:
    liveness = watching()
    assert liveness.next_at == 10.0
    assert liveness.due(9.9) == []
    assert liveness.due(10.0) == [happens.CheckInDue()]


def test_further_silences_are_noticed_until_it_is_enough() -> None:
    liveness = watching()
    assert [liveness.due(second) for second in (10.0, 20.0, 30.0)] == [
        [happens.CheckInDue()],
        [happens.CheckInDue()],
        [happens.SilenceOver()],
    ]


def test_who_holds_is_waited_for_and_has_all_the_time_again_when_back() -> None:
    liveness = watching()
    assert liveness.due(10.0) == [happens.CheckInDue()]
    liveness.observe(attrs.evolve(state(), hold=Hold.ON), 11.0)
    assert liveness.due(79.0) == []
    liveness.observe(state(), 79.0)
    liveness.caller_acted(79.0)
    assert liveness.due(88.9) == [happens.DurationWarningDue()], "which had to wait"
    assert liveness.due(89.0) == [happens.CheckInDue()]
    assert liveness.due(99.0) == [happens.CheckInDue()]


def test_an_answer_is_not_slow_while_the_caller_holds() -> None:
    liveness = watching(agent=Agent.PREPARING)
    liveness.observe(attrs.evolve(state(Agent.PREPARING), hold=Hold.ON), 1.0)
    assert liveness.due(50.0) == []
    liveness.observe(state(Agent.PREPARING), 50.0)
    assert liveness.due(51.9) == []
    assert liveness.due(52.0) == [happens.AnswerSlow()]


def test_the_time_of_a_call_is_up_on_hold_too() -> None:
    liveness = watching()
    liveness.observe(attrs.evolve(state(), hold=Hold.ON), 1.0)
    assert liveness.next_at == 100.0
    assert liveness.due(100.0) == [happens.DurationOver()]


def test_a_caller_who_presses_keys_is_there() -> None:
    """Though the agent waits for more of them, and so stands still."""
    liveness = watching()
    assert liveness.due(10.0) == [happens.CheckInDue()]
    liveness.caller_acted(15.0)
    assert liveness.due(24.9) == []
    assert [liveness.due(second) for second in (25.0, 35.0, 45.0)] == [
        [happens.CheckInDue()],
        [happens.CheckInDue()],
        [happens.SilenceOver()],
    ]


def test_without_check_ins_the_first_silence_is_the_last() -> None:
    assert watching(attrs.evolve(OFF, check_in_after=10.0)).due(10.0) == [happens.SilenceOver()]


@pytest.mark.parametrize(
    "meanwhile",
    [
        state(caller=Caller.SPEAKING),
        state(caller=Caller.HESITATING),
        *[state(agent) for agent in Agent if agent is not Agent.IDLE],
        state(line=Line.LOST),
    ],
    ids=lambda conversation: f"{conversation.line}, {conversation.caller}, {conversation.agent}",
)
def test_a_silence_begins_anew_after_anything_that_is_none(meanwhile: Conversation) -> None:
    liveness = watching(attrs.evolve(OFF, check_in_after=10.0, check_ins=1))
    liveness.observe(meanwhile, 8.0)
    assert liveness.due(11.0) == []
    liveness.observe(state(), 12.0)
    assert liveness.next_at == 22.0


def test_the_check_in_s_own_words_are_no_silence() -> None:
    liveness = watching()
    liveness.due(10.0)
    liveness.observe(state(Agent.SPEAKING), 10.5)
    liveness.observe(state(), 12.0)
    assert liveness.due(20.0) == []
    assert liveness.due(22.0) == [happens.CheckInDue()]


@pytest.mark.parametrize("sign", [state(caller=Caller.SPEAKING), state(Agent.PREPARING)], ids=["speech", "digits"])
def test_a_caller_who_is_there_after_all_is_asked_as_often_again(sign: Conversation) -> None:
    liveness = watching()
    assert [liveness.due(second) for second in (10.0, 20.0)] == [[happens.CheckInDue()], [happens.CheckInDue()]]
    liveness.observe(sign, 21.0)
    liveness.observe(state(), 22.0)
    assert liveness.due(32.0) == [happens.CheckInDue()]


# --- a slow answer


def test_a_slow_answer_is_told_once() -> None:
    liveness = watching()
    liveness.observe(state(Agent.PREPARING), 5.0)
    assert liveness.next_at == 7.0
    assert liveness.due(7.0) == [happens.AnswerSlow()]
    liveness.observe(state(Agent.SPEAKING_ASIDE), 7.2)
    liveness.observe(state(Agent.PREPARING), 8.0)
    assert liveness.due(15.0) == []


def test_the_next_answer_may_be_slow_again() -> None:
    liveness = watching()
    liveness.observe(state(Agent.PREPARING), 5.0)
    liveness.due(7.0)
    liveness.observe(state(Agent.SPEAKING), 8.0)
    liveness.observe(state(Agent.PREPARING), 9.0)
    assert liveness.due(11.0) == [happens.AnswerSlow()]


def test_an_answer_that_is_in_time_is_not_slow() -> None:
    liveness = watching()
    liveness.observe(state(Agent.PREPARING), 5.0)
    liveness.observe(state(Agent.SPEAKING), 6.9)
    assert liveness.due(7.0) == []


def test_while_the_caller_goes_on_no_answer_is_slow() -> None:
    liveness = watching()
    liveness.observe(state(Agent.PREPARING), 5.0)
    liveness.observe(state(Agent.WITHHOLDING, Caller.SPEAKING), 6.0)
    assert liveness.due(8.0) == []
    liveness.observe(state(Agent.PREPARING), 9.0)
    assert liveness.next_at == 11.0


# --- duration


def test_a_call_is_warned_and_then_over_each_once() -> None:
    liveness = watching(attrs.evolve(OFF, max_duration=100.0, warn_before=20.0))
    assert liveness.next_at == 80.0
    assert liveness.due(80.0) == [happens.DurationWarningDue()]
    assert liveness.next_at == 100.0
    assert liveness.due(100.0) == [happens.DurationOver()]
    assert liveness.next_at == math.inf


def test_the_time_counts_from_when_the_call_went_live() -> None:
    liveness = Liveness(attrs.evolve(OFF, max_duration=100.0))
    liveness.observe(state(line=Line.CONNECTING), 0.0)
    assert liveness.next_at == math.inf
    liveness.observe(state(), 5.0)
    liveness.observe(state(line=Line.LOST), 50.0)
    assert liveness.next_at == 105.0


def test_a_call_that_is_shorter_than_its_warning_is_not_warned() -> None:
    assert watching(attrs.evolve(OFF, max_duration=15.0, warn_before=20.0)).next_at == 15.0


def test_what_is_due_at_once_is_told_at_once() -> None:
    assert watching().due(200.0) == [happens.CheckInDue(), happens.DurationWarningDue(), happens.DurationOver()]


# --- anything


def test_zeros_switch_off() -> None:
    liveness = watching(OFF)
    liveness.observe(state(Agent.PREPARING), 1.0)
    assert liveness.next_at == math.inf
    assert liveness.due(1e9) == []


@unhurried
@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 30.0),
            st.builds(state, st.sampled_from(Agent), st.sampled_from(Caller), st.sampled_from([Line.LIVE, Line.LOST])),
        ),
        max_size=30,
    )
)
def test_next_at_tells_when_something_is_due_and_it_is_told_then(script: list[tuple[float, Conversation]]) -> None:
    liveness, now = watching(), 0.0
    once = []
    for seconds, conversation in script:
        until = now + seconds
        while liveness.next_at <= until:
            assert liveness.next_at >= now
            assert liveness.due(math.nextafter(liveness.next_at, -math.inf)) == []
            now = liveness.next_at
            told = liveness.due(now)
            assert told
            once += [event for event in told if isinstance(event, happens.DurationWarningDue | happens.DurationOver)]
        now = until
        liveness.observe(conversation, now)
    assert len(once) == len(set(map(type, once)))
