"""A guess of the text saves runs of the decoder and changes nothing."""

from collections.abc import Callable, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.speculative import decode

BEGIN, END = 0, 1
WORDS = range(2, 6)
MOST = 40


@attrs.define
class Writer:
    """Writes by a rule: the next token follows from all before it."""

    rule: Callable[[tuple[int, ...]], int]
    read_so_far: list[int] = attrs.field(factory=list)
    runs: int = 0

    def read(self, tokens: Sequence[int]) -> Sequence[int]:
        self.runs += 1
        following = []
        for token in tokens:
            self.read_so_far.append(token)
            following.append(self.rule(tuple(self.read_so_far)))
        return following

    def forget(self, count: int) -> None:
        assert count < len(self.read_so_far), "its beginning stays"
        del self.read_so_far[len(self.read_so_far) - count :]


def saying(text: Sequence[int]) -> Writer:
    """Writes this text, whatever it was made to read: a wrong guess is followed by what is said at its place."""
    return Writer(lambda tokens: text[len(tokens) - 1] if len(tokens) <= len(text) else END)


def plainly(writer: Writer, most: int) -> list[int]:
    """A token at a time."""
    text: list[int] = []
    last = BEGIN
    while len(text) < most:
        (last,) = writer.read([last])
        if last == END:
            break
        text.append(last)
    return text


texts = st.lists(st.sampled_from(WORDS), max_size=30)
rules = st.integers(0, 10**9).map(lambda seed: lambda tokens: 1 + hash((seed, *tokens)) % 5)


@given(rules, texts, st.integers(0, MOST))
def test_whatever_is_guessed_the_text_is_that_of_plain_decoding(
    rule: Callable[[tuple[int, ...]], int], guess: list[int], most: int
) -> None:
    assert decode(Writer(rule), BEGIN, END, most, guess) == plainly(Writer(rule), most)


@given(rules, texts, st.integers(1, MOST))
def test_a_guess_costs_no_run_and_the_text_is_what_was_read(
    rule: Callable[[tuple[int, ...]], int], guess: list[int], most: int
) -> None:
    plain, writer = Writer(rule), Writer(rule)
    plainly(plain, most)
    text = decode(writer, BEGIN, END, most, guess)
    assert writer.runs <= plain.runs
    assert [BEGIN, *text][: len(writer.read_so_far)] == writer.read_so_far


@given(texts)
def test_a_guess_that_is_right_is_checked_in_one_run(text: list[int]) -> None:
    writer = saying(text)
    assert decode(writer, BEGIN, END, MOST, text) == text
    assert writer.runs == 1


@given(texts, texts)
def test_what_comes_after_a_guess_takes_a_run_for_each_token(text: list[int], more: list[int]) -> None:
    writer = saying([*text, *more])
    assert decode(writer, BEGIN, END, 2 * MOST, text) == [*text, *more]
    assert writer.runs == 1 + len(more)


@pytest.mark.parametrize(
    ("guess", "runs"),
    [
        ([10, 11, 99, 13, 14, 15, 16, 17], 2),  # another word
        ([10, 11, 13, 14, 15, 16, 17], 3),  # one was left out
        ([10, 11, 98, 99, 12, 13, 14, 15, 16, 17], 2),  # two that were not said
        ([99, 11, 12, 13, 98, 15, 16, 17], 3),
        ([], 9),
    ],
)
def test_after_a_word_that_was_guessed_wrongly_the_guess_goes_on(guess: list[int], runs: int) -> None:
    text = [10, 11, 12, 13, 14, 15, 16, 17]
    writer = saying(text)
    assert decode(writer, BEGIN, END, MOST, guess) == text
    assert writer.runs == runs
