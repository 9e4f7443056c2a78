"""What the lab's ear may be trusted with: a small speech engine, listening at 8 kHz."""

import pytest

from tests.lab.hearing import confirms, likeness, words


def test_the_demo_failed_because_goodbye_was_heard_as_today() -> None:
    assert confirms("Goodbye.", "To-day,"), "a word without others around it is misheard as often as not"


@pytest.mark.parametrize(
    ("one", "other"), [("Goodbye.", "Good-bye."), ("today", "To-day,"), ("3 lines", "three lines"), ("I'm", "i'm")]
)
def test_the_same_words_written_differently_are_the_same(one: str, other: str) -> None:
    assert words(one) == words(other)
    assert likeness(one, other) == 1.0


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("It is Paris.", "It is Perth,"),
        ("Ah, the capital of France is Paris.", "Ah, the capital of Francis Perth,"),
        ("The capital of France is Paris.", "The capital of Francis Perris,"),
        ("Thank you.", "Thank you,"),
    ],
)
def test_a_few_misheard_words_do_not_count_against_a_sentence(said: str, heard: str) -> None:
    assert confirms(said, heard)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Goodbye.", ""),
        ("", "Goodbye."),
        ("", ""),
        ("Thank you.", "I am the only person in this conference."),
        ("France is a beautiful country.", "To-day,"),
        ("It is Paris.", "How can I help you?"),
        ("I'm sorry for any misunderstanding.", "I am the only person in this conference."),
        ("France is a beautiful country with many languages.", "I am the assistant of this telephone line."),
    ],
)
def test_silence_other_words_and_a_sentence_in_place_of_a_word_do(said: str, heard: str) -> None:
    assert not confirms(said, heard)
