"""The history says what the caller said and what the caller heard, and nothing else."""

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.history import MOST_TEXT, History, Speaker, ToolUse, Turn

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

CALLER, AGENT = Speaker.CALLER, Speaker.AGENT


def told(history: History) -> list[tuple[Speaker, str]]:
    return [(turn.speaker, turn.text) for turn in history.turns]


def test_question_and_answer() -> None:
    history = History()
    history.caller_said("What are your hours?")
    history.agent_speaks(1)
    history.agent_heard(1, "Nine to five.", "Nine to five.")
    assert told(history) == [(CALLER, "What are your hours?"), (AGENT, "Nine to five.")]


def test_a_caller_who_pauses_and_goes_on_has_said_one_thing() -> None:
    history = History()
    history.caller_said("I would like")
    history.caller_said("a table for two.")
    assert told(history) == [(CALLER, "I would like a table for two.")]


def test_a_turn_that_never_ends_is_kept_up_to_a_length() -> None:
    history = History()
    for _ in range(3):
        history.caller_said("x" * MOST_TEXT)
    assert told(history) == [(CALLER, "x" * MOST_TEXT)]
    history.agent_speaks(1)
    history.caller_said("y" * MOST_TEXT + "z")
    assert history.turns[-1].text == "y" * MOST_TEXT
    history.agent_heard(1, "", "Never heard.")
    assert told(history) == [(CALLER, "x" * MOST_TEXT)]


def test_what_was_cut_off_is_kept_beside_what_was_heard() -> None:
    history = History()
    history.agent_speaks(1)
    history.agent_heard(1, "We open", "We open at nine and close at five.")
    assert history.turns == [Turn(AGENT, "We open", "We open at nine and close at five.", 1)]


def test_an_utterance_that_is_being_heard_has_its_place_already() -> None:
    history = History()
    history.agent_speaks(1)
    history.caller_said("Wait.")
    history.agent_heard(1, "Hello, how", "Hello, how can I help you?")
    assert told(history) == [(AGENT, "Hello, how"), (CALLER, "Wait.")]


def test_an_utterance_of_which_nothing_was_heard_leaves_no_trace() -> None:
    history = History()
    history.caller_said("Hello?")
    history.agent_speaks(1)
    history.agent_heard(1, "", "Hello, how can I help you?")
    history.agent_heard(2, "", "Are you there?")
    assert told(history) == [(CALLER, "Hello?")]


def test_the_turns_around_an_unheard_utterance_become_one() -> None:
    history = History()
    history.caller_said("I would like")
    history.agent_speaks(1)
    history.caller_said("a table for two.")
    history.agent_heard(1, "", "What would you like?")
    assert told(history) == [(CALLER, "I would like a table for two.")]


def test_an_utterance_whose_beginning_was_not_reported_is_recorded_when_heard() -> None:
    history = History()
    history.agent_heard(3, "Hello.", "Hello.")
    assert told(history) == [(AGENT, "Hello.")]


def test_words_that_come_after_their_answer_began_stand_before_it() -> None:
    history = History()
    history.agent_heard(1, "Hello.", "Hello.")
    place = history.place
    history.tool_used(ToolUse("hours", "{}", "9 to 5"))
    history.agent_speaks(2)
    history.caller_said("What are your hours?", place)
    assert [turn.speaker for turn in history.turns] == [AGENT, CALLER, Speaker.TOOL, AGENT]
    assert history.turns[1].text == "What are your hours?"


def test_words_that_come_late_may_be_the_first() -> None:
    history = History()
    place = history.place
    history.agent_speaks(1)
    history.caller_said("Hello?", place)
    assert told(history) == [(CALLER, "Hello?"), (AGENT, "")]


def test_words_that_come_late_go_on_with_what_the_caller_said_there() -> None:
    history = History()
    history.agent_heard(1, "Yes?", "Yes?")
    first = second = history.place
    history.caller_said("I would like", first)
    history.agent_speaks(2)
    history.caller_said("a table", second)
    assert told(history) == [(AGENT, "Yes?"), (CALLER, "I would like a table"), (AGENT, "")]


def test_words_whose_place_is_gone_are_the_last() -> None:
    history = History()
    history.agent_speaks(1)
    place = history.place
    history.agent_heard(1, "", "Hello, how can I help you?")
    history.agent_heard(2, "Yes?", "Yes?")
    history.caller_said("Wait.", place)
    assert told(history) == [(AGENT, "Yes?"), (CALLER, "Wait.")]


# --- what a session finds that goes on with it


def test_what_a_tool_gave_is_a_turn_of_its_own() -> None:
    history = History()
    history.caller_said("What is the time?")
    history.tool_used(ToolUse("clock", "{}", "noon"))
    history.agent_speaks(1)
    history.agent_heard(1, "Noon.", "Noon.")
    assert history.turns[1] == Turn(Speaker.TOOL, "", tool=ToolUse("clock", "{}", "noon"))
    assert [turn.speaker for turn in history.turns] == [CALLER, Speaker.TOOL, AGENT]


def test_who_spoke_last_tells_what_is_left_open() -> None:
    history = History()
    assert (history.owed, history.agent_spoke_last) == (False, False), "nobody has said anything"
    history.caller_said("What is the time?")
    assert (history.owed, history.agent_spoke_last) == (True, False)
    history.tool_used(ToolUse("clock", "{}", "noon"))
    assert (history.owed, history.agent_spoke_last) == (True, False), "a tool is no answer"
    history.agent_speaks(1)
    assert (history.owed, history.agent_spoke_last) == (False, True), "it is being heard"
    history.tool_used(ToolUse("clock", "{}", "noon"))
    assert (history.owed, history.agent_spoke_last) == (False, True)


def test_an_answer_of_which_nothing_was_heard_leaves_the_caller_waiting() -> None:
    history = History()
    history.caller_said("What is the time?")
    history.agent_speaks(1)
    history.agent_heard(1, "", "Noon.")
    assert history.owed


def test_what_a_caller_says_around_a_tool_is_two_turns() -> None:
    history = History()
    history.caller_said("What is the time?")
    history.tool_used(ToolUse("clock", "{}", "noon"))
    history.caller_said("Hello?")
    assert [turn.text for turn in history.turns if turn.speaker is CALLER] == ["What is the time?", "Hello?"]


steps = st.lists(
    st.tuples(st.just("caller"), st.integers(1, 2))
    | st.tuples(st.just("speaks"), st.integers(1, 2))
    | st.tuples(st.just("heard"), st.integers(1, 2))
    | st.tuples(st.just("unheard"), st.integers(1, 2)),
    max_size=20,
)


@unhurried
@given(steps)
def test_the_caller_s_words_are_never_lost_and_never_two_turns_in_a_row(script: list[tuple[str, int]]) -> None:
    history = History()
    said = []
    started: set[int] = set()
    for index, (what, utterance) in enumerate(script):
        if what == "caller":
            said.append(f"word{index}")
            history.caller_said(said[-1])
        elif what == "speaks" and utterance not in started:
            started.add(utterance)
            history.agent_speaks(utterance)
        elif what == "heard":
            started.add(utterance)
            history.agent_heard(utterance, "yes", "yes indeed")
        elif what == "unheard":
            history.agent_heard(utterance, "", "yes indeed")
        speakers = [turn.speaker for turn in history.turns]
        assert (CALLER, CALLER) not in list(pairwise(speakers))
        assert " ".join(turn.text for turn in history.turns if turn.speaker is CALLER).split() == said


@unhurried
@given(st.lists(st.sampled_from(["mark", "late", "caller", "speaks", "heard", "unheard"]), max_size=20))
def test_words_that_come_late_are_never_lost_and_never_a_second_turn_in_a_row(script: list[str]) -> None:
    history = History()
    said, utterance, place = [], 0, history.place
    for index, what in enumerate(script):
        if what == "mark":
            place = history.place
        elif what in ("late", "caller"):
            said.append(f"word{index}")
            history.caller_said(said[-1], place if what == "late" else None)
        elif what == "speaks":
            utterance += 1
            history.agent_speaks(utterance)
        elif utterance:
            history.agent_heard(utterance, "yes" if what == "heard" else "", "yes indeed")
        speakers = [turn.speaker for turn in history.turns]
        assert (CALLER, CALLER) not in list(pairwise(speakers))
        words = " ".join(turn.text for turn in history.turns if turn.speaker is CALLER).split()
        assert sorted(words) == sorted(said)
