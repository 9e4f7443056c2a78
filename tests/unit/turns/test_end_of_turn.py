"""How long a pause may last: no cue ever counts against itself, and digits that were asked for are waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.turns.end_of_turn import PatienceSettings, Sound, silence_needed
from agentd_providers.turns.word_ends import Told
from agentd_providers.turns.word_tables import open_word_ends

SETTINGS = PatienceSettings(stop_ms=200, unsure_ms=600, hesitation_ms=1300, max_silence_ms=2000)
ENGLISH = open_word_ends("en")


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
    words = ENGLISH.complete("What time is it?")
    assert silence_needed(Sound(0.97), words, (), SETTINGS, sentence=0.9) == SETTINGS.stop_ms


def test_a_hesitation_is_waited_for_beyond_hesitation_ms():
    assert (
        silence_needed(Sound(0.03), ENGLISH.complete("My number is"), (), SETTINGS, sentence=0.004)
        > SETTINGS.hesitation_ms
    )


@pytest.mark.parametrize("look", range(4))
@pytest.mark.parametrize(
    ("sound", "longer_than"), [(0.02, "hesitation_ms"), (0.5, "hesitation_ms"), (0.97, "unsure_ms")]
)
def test_broken_off_words_are_waited_for_however_finished_they_sound(sound, longer_than, look):
    words = ENGLISH.complete("Press zero to reach an")
    needed = silence_needed(Sound(sound, look), words, (), SETTINGS, sentence=0.0)
    assert needed > getattr(SETTINGS, longer_than)


def test_without_any_cue_it_is_waited_for_no_longer_than_in_a_hesitation():
    assert SETTINGS.unsure_ms < silence_needed(None, None, (), SETTINGS) < SETTINGS.hesitation_ms


def test_a_caller_who_pauses_for_long_is_waited_for_longer_when_hesitating_not_when_done():
    habit = [1400.0, 300.0]
    hesitating = silence_needed(Sound(0.2), 0.15, habit, SETTINGS, sentence=0.1)
    assert hesitating > silence_needed(Sound(0.2), 0.15, (), SETTINGS, sentence=0.1)
    assert hesitating > 1400
    assert silence_needed(Sound(0.97), 0.97, habit, SETTINGS, sentence=0.9) == SETTINGS.stop_ms


@given(sounds, probabilities, probabilities, pauses)
def test_what_the_words_tell_surely_bounds_what_the_cues_come_to(sound, words, sentence, habit):
    def needed(told, known):
        return silence_needed(sound, words, habit, SETTINGS, sentence=known, told=told)

    assert needed(Told.MISSING, sentence) >= SETTINGS.hesitation_ms
    assert needed(Told.SPELLED, sentence) >= SETTINGS.unsure_ms
    assert needed(Told.WHOLE, sentence) <= SETTINGS.unsure_ms
    assert needed(Told.MISSING, None) >= needed(Told.SPELLED, None) >= needed(None, None) >= needed(Told.WHOLE, None)


def test_of_what_is_spelled_a_model_of_the_language_knows_nothing():
    waits = {silence_needed(Sound(0.9), 0.2, (), SETTINGS, sentence=known, told=Told.SPELLED) for known in (0.0, 1.0)}
    assert len(waits) == 1
