"""What the marks of a transcript tell about whether its turn is over."""

import pytest

from agentd_providers.turns.end_of_turn import PatienceSettings, silence_needed
from agentd_providers.turns.marks import NO_MARKS, Marks, marks_of

PATIENCE = PatienceSettings(stop_ms=200, unsure_ms=500, hesitation_ms=1200, max_silence_ms=2000)


@pytest.mark.parametrize(
    ("words", "marks"),
    [
        ("", NO_MARKS),
        ("i would like to", NO_MARKS),
        ("I would like to.", NO_MARKS),
        ("Four one five, two two oh,", Marks(comma=True)),
        ("Zuerst nach Köln;", Marks(comma=True)),
        ("首先，", Marks(comma=True)),
        ("أولا،", Marks(comma=True)),
        ("Are you open, today?", Marks(question=True)),
        ("\"Really?\"", Marks(question=True)),
        ("No. That is all", Marks(sentence_before=True)),
        ("No! Is that all?", Marks(question=True, sentence_before=True)),
        ("好。谢谢", Marks(sentence_before=True)),
        ("It costs 3.50 at www.example.org", NO_MARKS),
        ("?!., ", Marks(comma=True, question=True)),
    ],
)  # fmt: skip
def test_the_last_mark_and_a_sentence_before_are_told(words: str, marks: Marks):
    assert marks_of(words) == marks


def needed(marks: Marks) -> float:
    return silence_needed(None, 0.5, (), PATIENCE, sentence=0.3, marks=marks)


def test_who_sounds_as_if_more_came_is_waited_for_longer():
    assert needed(Marks(comma=True)) > needed(NO_MARKS)


def test_after_a_question_or_a_second_sentence_less_is_waited():
    assert needed(Marks(question=True)) < needed(NO_MARKS)
    assert needed(Marks(sentence_before=True)) < needed(NO_MARKS)
