"""A reply becomes clauses while it is still being written."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd_providers.pipeline.clauses import FIRST_MIN, LONGEST, MEANINGFUL, ClauseCutter
from agentd_providers.text_normalisation.tables import open_language

ENGLISH = open_language("en-US")
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


def clauses_of(*deltas: str) -> list[str]:
    cutter = ClauseCutter(ENGLISH)
    return [clause for delta in deltas for clause in cutter.feed(delta)] + cutter.flush()


def letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


# Text as models write it: words, punctuation, markup, numbers, whitespace of every kind.
pieces = st.sampled_from(
    [
        "Yes", "of course", "we are open from 9.30 to 5", "Dr. Jones", "3.5", "e.g. tea", "über", "山田さん", "。",
        ".", "...", "!", "?", ",", ";", ":", " - ", " – ", " ", "  ", "\n", "\n- ", "**", "_", "`", "#", '"', ")", "'",
        "a" * 50, "word " * 20, "！",
    ]
)  # fmt: skip
replies = st.lists(pieces | st.text(max_size=8), max_size=40).map("".join)


@unhurried
@given(replies)
def test_no_letter_and_no_digit_of_a_reply_is_lost(reply: str) -> None:
    assert letters("".join(clauses_of(reply))) == letters(reply)


@unhurried
@given(replies)
def test_only_markup_and_spaces_and_lone_punctuation_are_left_out(reply: str) -> None:
    spoken = "".join(clauses_of(reply)).replace(" ", "")
    remaining = iter(reply.replace("\n", "\n,"))  # a line that is no sentence gets a comma
    assert all(character in remaining for character in spoken)


@unhurried
@given(replies, st.lists(st.integers(min_value=0), max_size=30))
def test_any_split_of_the_deltas_gives_the_same_clauses(reply: str, places: list[int]) -> None:
    edges = [0, *sorted(place % (len(reply) + 1) for place in places), len(reply)]
    split = [reply[begin:end] for begin, end in pairwise(edges)]
    assert clauses_of(*split) == clauses_of(*reply) == clauses_of(reply)


def test_a_long_reply_in_one_piece_is_cut_as_if_it_came_letter_by_letter() -> None:
    reply = "word " * 60 + "end. And more."
    assert clauses_of(reply) == clauses_of(*reply)


@unhurried
@given(replies)
def test_every_clause_can_be_spoken_and_is_bounded(reply: str) -> None:
    for clause in clauses_of(reply):
        assert clause == " ".join(clause.split())
        assert letters(clause) or MEANINGFUL & set(clause)
        assert len(clause) <= LONGEST


@unhurried
@given(replies)
def test_a_flushed_cutter_begins_anew(reply: str) -> None:
    cutter = ClauseCutter()
    once = [*cutter.feed(reply), *cutter.flush()]
    assert cutter.flush() == []
    assert [*cutter.feed(reply), *cutter.flush()] == once


def test_the_first_clause_comes_at_the_first_comma_while_the_rest_is_being_written() -> None:
    cutter = ClauseCutter()
    assert cutter.feed("Of course I can,") == []
    assert cutter.feed(" let") == ["Of course I can,"]
    assert cutter.feed(" me see, what we have") == []


def test_the_first_clause_is_not_so_short_that_its_sound_ends_before_the_next_is_ready() -> None:
    clauses = clauses_of("Yes, we do, every day of the week.")
    assert clauses[0] == "Yes, we do,"
    assert len(clauses[0]) >= FIRST_MIN


def test_later_clauses_end_with_their_sentence() -> None:
    assert clauses_of("We open at nine. We close at five, except on Friday, when we close at three. Bye.") == [
        "We open at nine.",
        "We close at five, except on Friday, when we close at three.",
        "Bye.",
    ]


def test_a_long_sentence_is_cut_at_a_comma() -> None:
    clauses = clauses_of(
        "Good morning. There is a bus at nine in the morning from the station, another one follows at ten, and so on."
    )
    assert clauses[1] == "There is a bus at nine in the morning from the station,"


def test_a_clause_ends_at_a_dash_between_words_and_not_at_a_hyphen_within_one() -> None:
    assert clauses_of("The check-in is open – come in.") == ["The check-in is open –", "come in."]


@pytest.mark.parametrize(
    "sentence",
    [
        "It costs 3.5 euros and takes 1,200 steps.",
        "The address is 10.0.0.1 on port 8090.",
        "We open at 9:30 in the morning.",
        "Visit example.com for more.",
    ],
)
def test_numbers_times_and_addresses_are_not_cut(sentence: str) -> None:
    assert clauses_of(sentence) == [sentence]


@pytest.mark.parametrize(
    "sentence",
    [
        "You will be seen by Dr. Miller today.",
        "Please ask for Mrs. Jones at the desk.",
        "We have fruit, e.g. apples and pears.",
        "The invoice was signed by J. Smith himself.",
        "Turn left at the church of St. Mary.",
    ],
)
def test_an_abbreviation_is_not_the_end_of_a_sentence(sentence: str) -> None:
    assert not any(clause.endswith(("Dr.", "Mrs.", "e.g.", "J.", "St.")) for clause in clauses_of(sentence))


@pytest.mark.parametrize("sentence", ["I cannot tell you, no.", "You can, and so can I.", "It is (etc.)"])
def test_a_sentence_that_ends_with_a_short_word_ends(sentence: str) -> None:
    assert clauses_of(f"Well, let me see. {sentence} Ask my boss.")[-2:] == [sentence, "Ask my boss."]


def test_quotes_and_brackets_stay_with_their_sentence() -> None:
    assert clauses_of('She said "come in!" and left. (He did not.) Bye.') == [
        'She said "come in!"',
        "and left.",
        "(He did not.)",
        "Bye.",
    ]


def test_sentences_of_scripts_without_spaces_end_too() -> None:
    assert clauses_of("はい、そうです！？「行きましょう。」では、また。") == [
        "はい、そうです！？「行きましょう。」",
        "では、また。",
    ]
    assert clauses_of("こんにちは、お元気ですか。今日はいい天気です。") == [
        "こんにちは、お元気ですか。",
        "今日はいい天気です。",
    ]


def test_markup_is_not_read_aloud() -> None:
    assert clauses_of("**Certainly!** Here is a `list` of them:\n# One\n# Two") == [
        "Certainly!",
        "Here is a list of them:",
        "One, Two",
    ]


@pytest.mark.parametrize("reply", ["", "   ", "...", "**", "?!", "\n\n", "- – -"])
def test_what_cannot_be_spoken_gives_no_clause(reply: str) -> None:
    assert clauses_of(reply) == []


def test_a_reply_without_any_punctuation_is_cut_between_words() -> None:
    clauses = clauses_of(*("la " * 200))
    assert all(clause.replace("la", "").strip() == "" for clause in clauses)
    assert len(clauses) == 4


def test_one_endless_word_is_cut_all_the_same() -> None:
    assert clauses_of("a" * 500) == ["a" * 180, "a" * 180, "a" * 140]
