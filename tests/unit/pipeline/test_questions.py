"""Whether the agent has just asked something, as far as the caller has heard it."""

import pytest

from agentd_providers.pipeline.questions import AFTER, BEFORE, Questions


def spoken(*clauses: tuple[str, float]) -> Questions:
    """An utterance of these clauses, each so many seconds long, that begins to be heard at second 100."""
    questions = Questions()
    for text, seconds in clauses:
        questions.sounded(1, seconds)
        questions.said(1, text)
    questions.started(1, 100.0)
    return questions


def test_a_question_is_answered_from_shortly_before_its_end_until_a_second_after_it() -> None:
    questions = spoken(("Shall I go on?", 2.0), ("It is a long story.", 3.0))
    assert not questions.asked(102.0 - BEFORE - 0.1)
    assert questions.asked(102.0 - BEFORE + 0.1)
    assert questions.asked(102.0 + AFTER - 0.1)
    assert not questions.asked(102.0 + AFTER + 0.1)


@pytest.mark.parametrize("text", ["It is late.", "Yes!", "Well,", ""])
def test_what_is_no_question_asks_nothing(text: str) -> None:
    questions = spoken((text, 2.0))
    assert not any(questions.asked(100 + tenth / 10) for tenth in range(40))


@pytest.mark.parametrize("text", ["Is it late?", "Ist es spät?” ", "駅はどこですか？", "'Is it?'"])
def test_a_question_ends_in_its_mark_in_any_language_and_in_quotes(text: str) -> None:
    assert spoken((text, 2.0)).asked(102.0)


def test_a_question_in_the_middle_of_a_clause_is_found_by_its_letters() -> None:
    questions = spoken(("Shall I go on? There is more that I could tell you about all this.", 6.0))
    assert questions.asked(101.3)
    assert not questions.asked(105.5)


def test_pauses_put_it_off() -> None:
    questions = spoken(("Shall I go on?", 2.0), ("It is a long story.", 3.0))
    questions.paused(101.0)
    questions.paused(102.0)
    assert not questions.asked(103.0)
    questions.went_on(111.0)
    questions.went_on(112.0)
    assert questions.asked(112.0)


def test_what_was_heard_is_forgotten() -> None:
    questions = spoken(("Shall I go on?", 2.0))
    questions.heard(1)
    assert not questions.asked(102.0)


def test_an_utterance_asks_nothing_for_another() -> None:
    questions = spoken(("Shall I go on?", 2.0))
    questions.started(2, 101.0)
    assert not questions.asked(102.5)
