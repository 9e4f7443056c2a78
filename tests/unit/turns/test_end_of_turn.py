"""How long a pause may last: what the end of the words says, and that no cue ever counts against itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.turns.end_of_turn import NEUTRAL, PatienceSettings, Sound, silence_needed, words_complete

SETTINGS = PatienceSettings(stop_ms=200, unsure_ms=600, hesitation_ms=1300, max_silence_ms=2000)


@pytest.mark.parametrize(
    "text",
    [
        "I would like to book a table and",
        "My number is",
        "Can you tell me the",
        "I'm calling about my",
        "I live at",
        "Well I was wondering if",
        "Yes but",
        "My number is uh.",
        "um",
        "I'm",
        "Could you please",
        "The conference has been.",
        "I want to",
        "five five five one",
        "It is 5 5 5.",
        "My number is 555 1",
    ],
)
def test_words_that_break_off_look_incomplete(text):
    assert words_complete(text) <= 0.2


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "I need to cancel my appointment",
        "Yes.",
        "Yes, please.",
        "No, thank you",
        "I don't know.",
        "Yes, I do.",
        "I think so",
        "I don't know what it is",
        "Hold on.",
        "A table for two",
        "My number is five five five one two three four",
    ],
)
def test_whole_sentences_and_usual_answers_look_complete(text):
    assert words_complete(text) > NEUTRAL


@pytest.mark.parametrize("text", ["Who are you talking to", "Which folder is it in?", "At the tone, please"])
def test_what_may_end_either_way_says_nothing(text):
    assert words_complete(text) == NEUTRAL


@pytest.mark.parametrize("text", ["", "...", "?!"])
def test_no_words_say_nothing(text):
    assert words_complete(text) == NEUTRAL


def test_words_of_another_language_say_nothing():
    assert words_complete("Ich möchte die", "de") == NEUTRAL
    assert words_complete("I want the", "en-GB") < NEUTRAL


@given(st.text(max_size=60), st.sampled_from([".", ",", "?", "!", "..."]))
def test_punctuation_at_the_end_is_not_believed(text, mark):
    assert words_complete(f"{text} {mark}") == words_complete(text)


probabilities = st.none() | st.floats(0, 1)
sounds = st.none() | st.builds(Sound, st.floats(0, 1), st.integers(0, 9))
sure = st.floats(0, 1)
pauses = st.lists(st.floats(0, 10_000), max_size=8)


@given(sounds, probabilities, pauses, probabilities)
def test_a_pause_ends_between_the_two_bounds_whatever_the_cues(smart, words, habit, sentence):
    needed = silence_needed(smart, words, habit, SETTINGS, sentence=sentence)
    assert SETTINGS.stop_ms <= needed <= SETTINGS.max_silence_ms


@given(sure, sure, st.integers(0, 9), probabilities, pauses, probabilities)
def test_what_sounds_more_complete_is_never_waited_for_longer(one, other, look, words, habit, sentence):
    less, more = sorted((one, other))
    waits = [silence_needed(Sound(smart, look), words, habit, SETTINGS, sentence=sentence) for smart in (less, more)]
    assert waits[0] >= waits[1]


@given(sure, sure, sounds, pauses, probabilities)
def test_words_that_look_more_complete_are_never_waited_for_longer(one, other, smart, habit, sentence):
    less, more = sorted((one, other))
    waits = [silence_needed(smart, words, habit, SETTINGS, sentence=sentence) for words in (less, more)]
    assert waits[0] >= waits[1]


@given(sure, sure, sounds, pauses, probabilities)
def test_a_likelier_end_of_the_sentence_is_never_waited_for_longer(one, other, smart, habit, words):
    less, more = sorted((one, other))
    waits = [silence_needed(smart, words, habit, SETTINGS, sentence=sentence) for sentence in (less, more)]
    assert waits[0] >= waits[1]


@given(sounds, probabilities, pauses, probabilities, st.floats(0, 10_000))
def test_a_caller_with_more_pauses_is_never_waited_for_less(smart, words, habit, sentence, pause):
    fewer = silence_needed(smart, words, habit, SETTINGS, sentence=sentence)
    assert silence_needed(smart, words, [*habit, pause], SETTINGS, sentence=sentence) >= fewer


def test_a_turn_that_is_surely_complete_ends_after_stop_ms():
    assert (
        silence_needed(Sound(0.97), words_complete("What time is it?"), (), SETTINGS, sentence=0.9) == SETTINGS.stop_ms
    )


def test_a_hesitation_is_waited_for_beyond_hesitation_ms():
    assert (
        silence_needed(Sound(0.03), words_complete("My number is"), (), SETTINGS, sentence=0.004)
        > SETTINGS.hesitation_ms
    )


@pytest.mark.parametrize("look", range(4))
@pytest.mark.parametrize(
    ("sound", "longer_than"), [(0.02, "hesitation_ms"), (0.5, "hesitation_ms"), (0.97, "unsure_ms")]
)
def test_broken_off_words_are_waited_for_however_finished_they_sound(sound, longer_than, look):
    words = words_complete("Press zero to reach an")
    needed = silence_needed(Sound(sound, look), words, (), SETTINGS, sentence=0.0)
    assert needed > getattr(SETTINGS, longer_than)


def test_without_any_cue_it_is_waited_for_no_longer_than_in_a_hesitation():
    assert SETTINGS.unsure_ms < silence_needed(None, None, (), SETTINGS) < SETTINGS.hesitation_ms


def test_a_caller_who_pauses_for_long_is_waited_for_longer_when_hesitating_not_when_done():
    habit = [1400.0, 300.0]
    hesitating = silence_needed(Sound(0.1), 0.15, habit, SETTINGS, sentence=0.01)
    assert hesitating > silence_needed(Sound(0.1), 0.15, (), SETTINGS, sentence=0.01)
    assert hesitating > 1400
    assert silence_needed(Sound(0.97), 0.97, habit, SETTINGS, sentence=0.9) == SETTINGS.stop_ms
