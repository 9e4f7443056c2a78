"""How an agent took a turn is read off the sounds that were heard."""

import pytest

from tests.lab.bench_latency import Take, mixed, turn_of
from tests.lab.latency_report import summary
from tests.lab.measure import Span
from tests.lab.turn_set import TurnSample
from tests.lab.turn_taking import Reaction, Spoken, react

FINISHED = Spoken(Span(10, 12))
HELD_UP = Spoken(Span(10, 14), pause=Span(11, 12))
LATER = 30.0


def test_the_delay_counts_from_the_last_sound_said_to_the_first_heard() -> None:
    reaction = react(FINISHED, [Span(12.6, 14), Span(15, 16)], LATER)
    assert reaction == Reaction(12.6, pytest.approx(0.6), cut_off=False, early=False)
    assert reaction.clean


def test_the_labs_own_delay_is_taken_off() -> None:
    assert react(FINISHED, [Span(12.6, 14)], LATER, offset=0.1).delay == pytest.approx(0.5)


def test_a_hesitation_that_is_waited_for_is_answered_after_its_real_end() -> None:
    reaction = react(HELD_UP, [Span(14.7, 16)], LATER)
    assert reaction.clean
    assert reaction.delay == pytest.approx(0.7)


def test_a_reply_that_is_heard_before_the_caller_resumes_cuts_the_caller_off() -> None:
    reaction = react(HELD_UP, [Span(11.95, 12.1), Span(14.7, 16)], LATER)
    assert reaction.cut_off and not reaction.early and not reaction.clean
    assert reaction.delay == pytest.approx(0.7)


def test_one_that_is_heard_after_the_caller_has_resumed_is_early() -> None:
    reaction = react(HELD_UP, [Span(12.05, 12.5), Span(14.7, 16)], LATER)
    assert reaction.early and not reaction.cut_off and not reaction.clean


def test_the_labs_delay_counts_in_that_judgement_too() -> None:
    assert react(HELD_UP, [Span(12.05, 12.5)], LATER, offset=0.1).cut_off


def test_a_finished_sentence_is_never_cut_off_only_answered_early() -> None:
    reaction = react(FINISHED, [Span(11.5, 13)], LATER)
    assert reaction.early and not reaction.cut_off
    assert reaction.delay is None


def test_what_was_heard_before_the_turn_or_belongs_to_the_next_one_is_no_answer() -> None:
    assert react(FINISHED, [Span(9.9, 10.5), Span(20.5, 21)], until=20) == Reaction(None, None, False, False)


def take(*lines: dict[str, object], pause: Span | None = None) -> Take:
    return Take(TurnSample("x", "words", b"\0\0", pause), FINISHED, lines)


ANSWER = {"event": "answer", "response_ms": 500, "pause_ms": 200, "utterance": 2}


def test_a_turn_is_listed_with_the_daemons_parts() -> None:
    turn = turn_of(take({"event": "caller said", "text": "word"}, ANSWER), Reaction(12.6, 0.6, False, False))
    assert turn["delay_ms"] == 600
    assert turn["parts_ms"] == {"response": 500, "pause": 200}
    assert turn["heard_as"] == "word"


def test_what_the_daemon_calls_no_answer_is_none() -> None:
    assert turn_of(take(), Reaction(12.6, 0.6, False, False))["delay_ms"] is None


def test_the_report_keeps_the_turns_apart_in_which_the_caller_was_not_let_finish() -> None:
    pause = Span(1, 2)
    turns = [
        turn_of(take(ANSWER), Reaction(12.6, 0.6, False, False)),
        turn_of(take(ANSWER, pause=pause), Reaction(12.8, 0.8, False, False)),
        turn_of(take(ANSWER, pause=pause), Reaction(12.1, 0.1, True, False)),
        turn_of(take(ANSWER), Reaction(None, None, False, True)),
    ]
    report = summary(turns, 0.0, "")
    assert report["response_delay_ms"] == {"p50": 600, "p95": 800, "max": 800}
    assert report["delay_of_those_ms"]["max"] == 100
    assert (report["turns"], report["answered"], report["hesitations"]) == (4, 3, 2)
    assert (report["cut_off"], report["answered_before_the_end"]) == (1, 1)
    assert report["parts_ms"]["beyond_the_daemon"]["max"] == 300


def test_both_kinds_of_turn_alternate() -> None:
    whole = [TurnSample(name, name, b"", None) for name in "abc"]
    held = [TurnSample("1", "1", b"", Span(0, 1))]
    assert [sample.name for sample in mixed(whole, held)] == ["a", "1", "b", "c"]
