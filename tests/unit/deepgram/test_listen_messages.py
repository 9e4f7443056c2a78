"""What Deepgram says of live audio. The examples are from its pages docs/live-streaming-audio, docs/speech-started,
docs/utterance-end and docs/close-stream, with their words left out where many."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import ProviderProtocolError
from agentd_providers.deepgram.listen_messages import Finalizes, Results, TurnWords, Word, language_code, parse

RESULTS: dict[str, Any] = {
    "type": "Results",
    "channel_index": [0, 1],
    "duration": 1.98,
    "start": 5.99,
    "is_final": True,
    "speech_final": True,
    "channel": {
        "alternatives": [
            {
                "transcript": "Tell me more about this.",
                "confidence": 0.99964225,
                "words": [
                    {
                        "word": "tell",
                        "start": 6.0699997,
                        "end": 6.3499994,
                        "confidence": 0.99782443,
                        "punctuated_word": "Tell",
                    }
                ],
            }
        ]
    },
    "metadata": {
        "request_id": "52cc0efe-fa77-4aa7-b79c-0dda09de2f14",
        "model_info": {"name": "2-general-nova", "version": "2024-01-18.26916", "arch": "nova-2"},
        "model_uuid": "c0d1a568-ce81-4fea-97e7-bd45cb1fdf3c",
    },
    "from_finalize": False,
}
UNCONCERNED = [
    {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 9.54},
    {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 2.395},
    {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "8c8ebea9-dbec-45fa-a035-e4632cb05b5f",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "created": "2024-08-29T22:37:55.202Z",
        "duration": 0.0,
        "channels": 0,
    },
]


def final(start: float, end: float, *said: str, from_finalize: bool = False) -> Results:
    """A final result whose words are spread over its time."""
    step = (end - start) / max(len(said), 1)
    words = tuple(Word(word, start + (number + 0.5) * step) for number, word in enumerate(said))
    return Results(start, end, " ".join(said), words, True, from_finalize)


# --- parsing


def test_results_are_read() -> None:
    assert parse(json.dumps(RESULTS)) == Results(
        5.99, 7.970000000000001, "Tell me more about this.", (Word("Tell", 6.20999955),), True, False
    )


@pytest.mark.parametrize("message", UNCONCERNED)
def test_messages_that_tell_nothing_we_ask_for_are_known(message: dict[str, Any]) -> None:
    assert parse(json.dumps(message)) is None


@pytest.mark.parametrize(
    "message",
    [
        "}{",
        "[]",
        "7",
        b"\x00\x01",
        "[" * 100_000,
        '{"type": "Sorry"}',
        '{"type": null}',
        '{"no": "type"}',
        json.dumps(RESULTS | {"start": "5"}),
        json.dumps(RESULTS | {"start": -1}),
        json.dumps(RESULTS | {"start": True}),
        json.dumps(RESULTS | {"duration": math.nan}),
        json.dumps(RESULTS | {"duration": math.inf}),
        json.dumps(RESULTS | {"channel": 7}),
        json.dumps(RESULTS | {"channel": {"alternatives": {}}}),
        json.dumps(RESULTS | {"channel": {"alternatives": [7]}}),
        json.dumps(RESULTS | {"channel": {"alternatives": [{"transcript": 7}]}}),
        json.dumps(RESULTS | {"channel": {"alternatives": [{"transcript": "x" * 8001}]}}),
        json.dumps(RESULTS | {"channel": {"alternatives": [{"transcript": "x", "words": {}}]}}),
        json.dumps(RESULTS | {"channel": {"alternatives": [{"transcript": "x", "words": [7]}]}}),
        json.dumps(RESULTS | {"channel": {"alternatives": [{"transcript": "x", "words": [{"word": 7}]}]}}),
    ],
)
def test_what_is_not_as_documented_is_an_error_of_bounded_length(message: str | bytes) -> None:
    with pytest.raises(ProviderProtocolError) as caught:
        parse(message)
    assert len(str(caught.value)) < 300


NAMES = st.sampled_from(["type", "start", "duration", "channel", "alternatives", "transcript", "words", "word"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=10))
def test_nothing_that_a_peer_sends_is_another_error(value: Any) -> None:
    try:
        parse(json.dumps({**RESULTS, **value} if isinstance(value, dict) else value))
    except ProviderProtocolError:
        pass


@pytest.mark.parametrize(
    ("language", "code"),
    [("en-US", "en-US"), ("en", "en"), ("de-DE", "de"), ("de-CH", "de-CH"), ("pt-BR", "pt-BR"), ("es-MX", "es")],
)
def test_languages_are_called_as_deepgram_calls_them(language: str, code: str) -> None:
    assert language_code(language) == code


# --- the words of a turn


def test_a_turn_s_words_are_all_final_results_one_after_the_other_and_the_last_interim_one() -> None:
    turn = TurnWords(2.0)
    turn.take(Results(2.0, 3.0, "my"))
    assert turn.text == "my"
    turn.take(Results(2.0, 3.5, "my numb"))
    assert turn.text == "my numb"
    turn.take(final(2.0, 3.5, "my", "number"))
    assert turn.text == "my number"
    turn.take(Results(3.5, 4.0, "is"))
    assert (turn.text, turn.settled_to, turn.heard_to) == ("my number is", 3.5, 4.0)


def test_half_a_character_is_none() -> None:
    halved = json.dumps(RESULTS | {"channel": {"alternatives": [{"transcript": "yes \ud83d\ude00 please\ud83d"}]}})
    results = parse(halved)
    assert results is not None and results.transcript == "yes 😀 please\ufffd"


def test_silence_says_nothing() -> None:
    turn = TurnWords(0.0)
    turn.take(final(0.0, 1.0))
    assert (turn.text, turn.settled_to) == ("", 1.0)


def test_results_of_other_turns_are_left_out() -> None:
    turn = TurnWords(2.0, 4.0)
    turn.take(final(0.0, 2.0, "before"))
    turn.take(final(4.0, 5.0, "afterwards"))
    assert turn.text == ""


def test_of_a_result_that_lies_over_two_turns_each_has_its_own_words() -> None:
    both = final(1.0, 3.0, "yes", "please", "goodbye", "then")
    first, second = TurnWords(1.0, 2.0), TurnWords(2.0)
    for turn in (first, second):
        turn.take(both)
    assert (first.text, second.text) == ("yes please", "goodbye then")


def test_a_final_result_that_comes_twice_counts_once() -> None:
    turn = TurnWords(0.0)
    for _ in range(2):
        turn.take(final(0.0, 1.0, "hello"))
    assert turn.text == "hello"


def test_on_another_connection_what_is_final_stays_and_the_rest_is_heard_again() -> None:
    turn = TurnWords(5.0)
    turn.take(final(5.0, 6.0, "one"))
    turn.take(Results(6.0, 6.5, "tw"))
    turn.move(0.1)
    assert (turn.text, turn.settled_to, turn.heard_to) == ("one", 0.1, 0.1)
    turn.take(final(0.1, 1.0, "two"))
    assert turn.text == "one two"


@given(
    st.lists(st.floats(0.2, 3.0), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), max_size=4),
    st.data(),
)
def test_however_results_are_cut_each_word_is_in_just_one_turn(
    lengths: list[float], turn_starts: list[int], data: st.DataObject
) -> None:
    """Turns begin where results do, or anywhere: then the words decide."""
    edges = [0.0]
    for length in lengths:
        edges.append(edges[-1] + length)
    begins = sorted({0.0, *(data.draw(st.floats(0, edges[-1])) for _ in turn_starts)})
    turns = [TurnWords(begin, end) for begin, end in zip(begins, [*begins[1:], math.inf], strict=True)]
    results = [final(start, end, f"w{number}a", f"w{number}b") for number, (start, end) in enumerate(pairwise(edges))]
    for result in results:
        for turn in turns:
            turn.take(result)
    said = " ".join(turn.text for turn in turns).split()
    assert set(said) <= {word for result in results for word in result.transcript.split()}
    far = [
        word.text
        for result in results
        for word in result.words
        if all(
            min(abs(word.at - begin), abs(result.start - begin), abs(result.end - begin)) > 0.2 for begin in begins[1:]
        )
    ]
    assert all(said.count(word) == 1 for word in far)


# --- Finalize and its answers


def test_a_finalize_is_answered_by_a_final_result_that_says_so() -> None:
    finalizes = Finalizes()
    assert finalizes.ask(3.0)
    finalizes.take(Results(0.0, 3.0, "hello"))
    assert not finalizes.is_answered(3.0)
    finalizes.take(final(0.0, 2.5, "hello", from_finalize=True))
    assert finalizes.is_answered(3.0)


def test_a_final_result_that_reaches_as_far_will_do() -> None:
    finalizes = Finalizes()
    finalizes.ask(3.0)
    finalizes.take(final(0.0, 2.0, "hello"))
    assert not finalizes.is_answered(3.0)
    finalizes.take(final(2.0, 2.98, "there"))
    assert finalizes.is_answered(3.0)


def test_the_late_answer_to_an_earlier_finalize_is_not_taken_for_a_later_one_s() -> None:
    finalizes = Finalizes()
    finalizes.ask(3.0)
    finalizes.ask(8.0)
    finalizes.take(final(0.0, 3.0, "hello", from_finalize=True))
    assert finalizes.is_answered(3.0) and not finalizes.is_answered(8.0)
    finalizes.take(final(3.0, 8.0, "there", from_finalize=True))
    assert finalizes.is_answered(8.0)


def test_nothing_is_finalized_twice() -> None:
    finalizes = Finalizes()
    assert finalizes.ask(3.0) and not finalizes.ask(3.0)
