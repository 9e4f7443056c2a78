"""What the end of a turn's words says, in each language that has a table; and how many digits are still due."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.turns.word_ends import NEUTRAL, UNKNOWN, WHOLE, Digits, Told
from agentd_providers.turns.word_tables import languages, open_word_ends

ENGLISH = open_word_ends("en-GB")


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
    assert ENGLISH.complete(text) <= 0.2


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
    assert ENGLISH.complete(text) > NEUTRAL


@pytest.mark.parametrize("text", ["Who are you talking to", "Which folder is it in?", "At the tone, please"])
def test_what_may_end_either_way_says_nothing(text):
    assert ENGLISH.complete(text) == NEUTRAL


@pytest.mark.parametrize("text", ["", "...", "?!"])
def test_no_words_say_nothing(text):
    assert ENGLISH.complete(text) == NEUTRAL


@given(st.text(max_size=60), st.sampled_from([".", ",", "?", "!", "..."]))
def test_punctuation_at_the_end_is_not_believed(text, mark):
    assert ENGLISH.complete(f"{text} {mark}") == ENGLISH.complete(text)


BROKEN_OFF = {
    "de": ["Ich möchte einen", "Können Sie", "Ich rufe an wegen", "Am Montag oder", "Ähm"],
    "en": ["I want the", "Could you", "It's about", "On Monday or", "Uhm"],
    "es": ["Quiero una", "Es para el", "Llamo porque", "El lunes o", "Ehm", "Pues quisiera"],
    "fr": ["Je voudrais une", "Est-ce que je", "J'appelle pour", "Lundi ou", "Euh", "Je voudrais"],
    "it": ["Vorrei una", "Chiamo per", "Lunedì o", "Ehm", "Io vorrei"],
    "nl": ["Ik wil graag een", "Kunt u", "Ik bel over mijn", "Maandag of", "Ehm"],
    "pl": ["Dzwonię w", "Chodzi o", "W poniedziałek albo", "Eee", "Ja chciałbym"],
    "pt": ["Quero uma", "É para o", "Na segunda ou", "Hum", "Eu gostaria"],
}
SAID = {
    "de": ["Ich hole es ab", "Ja", "Wann rufen Sie mich an", "Das ist alles", "Ich komme mit", "Ich weiß, wo das ist"],
    "en": ["I'll pick it up", "Yes", "When will you call me", "That's all"],
    "es": ["Quiero una mesa para dos", "Sí", "¿Cuándo abren?", "Eso es todo", "Hoy no", "Creo que sí"],
    "fr": ["Je voudrais une table", "Oui", "Quand est-ce que vous ouvrez", "C'est tout", "Je crois pas", "Et vous ?"],
    "it": ["Vorrei un tavolo per due", "Sì", "Quando aprite", "È tutto", "Credo di no", "E lei?"],
    "nl": ["Ik haal het op", "Ja", "Wanneer belt u mij terug", "Dat is alles", "Dat weet ik niet", "Hoe gaat het"],
    "pl": ["Proszę stolik dla dwóch osób", "Tak", "Kiedy państwo otwierają", "To wszystko", "Dzisiaj nie"],
    "pt": ["Quero uma mesa para dois", "Sim", "Quando vocês abrem", "É só isso", "Hoje não", "E você?"],
}


@pytest.mark.parametrize(("language", "text"), [(tag, text) for tag, texts in BROKEN_OFF.items() for text in texts])
def test_words_that_break_off_look_so_in_each_language(language, text):
    assert open_word_ends(language).complete(text) < 0.2


@pytest.mark.parametrize(("language", "text"), [(tag, text) for tag, texts in SAID.items() for text in texts])
def test_what_is_said_to_its_end_looks_so_in_each_language(language, text):
    assert open_word_ends(language).complete(text) > NEUTRAL


def test_every_language_with_a_table_has_its_examples():
    assert set(languages()) == set(BROKEN_OFF) == set(SAID)


@pytest.mark.parametrize("language", languages())
def test_a_table_says_nothing_twice_and_nothing_in_vain(language):
    ends = open_word_ends(language)
    assert not ends.never_last & ends.rarely_last
    assert all(ends.complete(words) == WHOLE for words in ends.whole)
    bare = attrs.evolve(ends, whole_ends=frozenset())
    assert [end for end in ends.whole_ends if bare.complete(end) > NEUTRAL] == []


def test_a_region_does_not_matter_and_an_unknown_language_says_nothing():
    assert open_word_ends("de_AT") is open_word_ends("de_AT")
    assert open_word_ends("de-CH") == open_word_ends("de")
    assert open_word_ends("xx") is open_word_ends("../en") is open_word_ends("") is UNKNOWN
    assert UNKNOWN.complete("I want the") == NEUTRAL
    assert UNKNOWN.asks_for("What is your telephone number?") is None


@pytest.mark.parametrize(
    ("language", "said", "digits"),
    [
        ("en", "Please tell me your four-digit PIN.", Digits(4, 4)),
        ("en", "What are the last 6 digits of the number?", Digits(6, 6)),
        ("en", "What number can we call you back on?", Digits(7, 15)),
        ("en", "May I have your phone number?", Digits(7, 15)),
        ("en", "And the zip code?", Digits(5, 9)),
        ("en", "What is your order number?", None),
        ("en", "What can I do for you?", None),
        ("en", "The digits on the card, please.", None),
        ("de", "Nennen Sie mir bitte Ihre vierstellige Kundennummer.", Digits(4, 4)),
        ("de", "Unter welcher Nummer sind Sie zu erreichen?", Digits(6, 15)),
        ("es", "¿Me dice los cuatro dígitos?", Digits(4, 4)),
        ("fr", "Quel est votre numéro de téléphone ?", Digits(10, 15)),
        ("it", "Mi dice le ultime sei cifre?", Digits(6, 6)),
        ("nl", "Wat zijn de laatste vier cijfers?", Digits(4, 4)),
        ("pl", "Jaki jest pana numer telefonu?", Digits(9, 15)),
        ("pt", "Quais são os quatro dígitos?", Digits(4, 4)),
    ],
)
def test_a_number_that_is_asked_for_has_so_many_digits(language, said, digits):
    assert open_word_ends(language).asks_for(said) == digits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("four", Told.MISSING),
        ("It is 47", Told.MISSING),
        ("four seven one one", Told.WHOLE),
        ("It is 4711.", Told.WHOLE),
        ("47 11", Told.WHOLE),
        ("I don't know", Told.WHOLE),
        ("I have to look", None),
        ("", None),
    ],
)
def test_of_four_digits_that_were_asked_for_some_are_due_or_none(text, told):
    assert ENGLISH.told(text, Digits(4, 4)) is told


def test_a_number_may_be_whole_that_is_long_enough():
    assert ENGLISH.told("555 1234", Digits(7, 15)) is Told.SPELLED
    assert ENGLISH.complete("555 1234", Digits(7, 15)) > NEUTRAL


@pytest.mark.parametrize(
    "text", ["It's M-A-R-T-I-N.", "The postcode is NW3 5RT", "N W three", "My number is 555", "A B"]
)
def test_what_is_spelled_may_go_on(text):
    assert ENGLISH.told(text) is Told.SPELLED
    assert ENGLISH.complete(text) <= 0.2


@pytest.mark.parametrize("text", ["I need vitamin C", "It is platform 2", "Room B", "It was me and I"])
def test_one_letter_or_digit_is_not_spelled(text):
    assert ENGLISH.told(text) is None


@pytest.mark.parametrize(
    "text", ["No, thank you.", "No, that's all, thank you.", "Okay, thanks, bye.", "Yes. Yes, please."]
)
def test_several_whole_answers_are_whole(text):
    assert ENGLISH.told(text) is Told.WHOLE


@pytest.mark.parametrize(
    "text", ["Before I forget", "Because I'm away next week", "And if you can", "When I called yesterday"]
)
def test_after_a_subordinate_clause_the_sentence_goes_on(text):
    assert ENGLISH.complete(text) < NEUTRAL


@pytest.mark.parametrize(
    "text", ["When do you open?", "Because I'm away next week, I'd like to move the delivery.", "When can I come?"]
)
def test_a_main_clause_or_a_question_needs_none_after_it(text):
    assert ENGLISH.complete(text) > NEUTRAL


def test_digits_look_as_complete_as_the_number_that_was_asked_for():
    asked = Digits(4, 4)
    assert ENGLISH.complete("4 7 1", asked) < ENGLISH.complete("4 7 1") < ENGLISH.complete("4 7 1 1", asked)


@given(st.sampled_from(languages()), st.text(max_size=200))
def test_no_text_is_too_strange(language, text):
    ends = open_word_ends(language)
    assert 0 <= ends.complete(text, ends.asks_for(text)) <= 1
