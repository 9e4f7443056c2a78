"""Greedy decoding that is given a guess of what will be written. Pure.

A decoder writes a token at a time, each by a run of its own; but it reads many in one run, and tells what it would have
written after each. So a guess is read at once and is right up to the first token that it would not have written: what
comes out is what plain greedy decoding gives, whatever was guessed (speculative decoding, Y. Leviathan et al., 2023).
"""

from collections.abc import Sequence
from typing import Protocol

NEAR = 8
"""Tokens around a wrong one in which a guess may go on: words that were left out or put in are no more."""


class Decoder(Protocol):
    """Reads a text and says how it goes on."""

    def read(self, tokens: Sequence[int]) -> Sequence[int]:
        """Read on: gives, for each of `tokens`, the one that most likely follows it and all before it."""
        ...

    def forget(self, count: int) -> None:
        """The last `count` tokens that were read are not part of the text."""
        ...


def decode(decoder: Decoder, begin: int, end: int, most: int, guess: Sequence[int] = ()) -> list[int]:
    """The text that follows the token `begin` until `end`, both left out: at most `most` tokens.

    `guess` is a text as it may become, without `end`."""
    text: list[int] = []
    last, at = begin, 0
    while len(text) < most:
        offered = guess[at : at + most - len(text)]
        following = decoder.read([last, *offered])
        right = _alike(offered, following)
        decoder.forget(len(offered) - right)
        text += offered[:right]
        last = following[right]
        if last == end or len(text) == most:
            break
        text.append(last)
        at = _onward(guess, at + right, last)
    return text


def _alike(offered: Sequence[int], following: Sequence[int]) -> int:
    """How many of the tokens that were offered are those that follow."""
    pairs = zip(offered, following, strict=False)
    return next((number for number, (guessed, token) in enumerate(pairs) if guessed != token), len(offered))


def _onward(guess: Sequence[int], at: int, token: int) -> int:
    """Where a guess goes on if `token` is written where it has another one, at `at`: after the nearest such token in
    it, else after the wrong one. At its end it does not go on."""
    if at >= len(guess):
        return len(guess)
    places = range(max(0, at - NEAR), min(len(guess), at + NEAR + 1))
    alike = [place for place in places if guess[place] == token]
    return 1 + min(alike, key=lambda place: abs(place - at), default=at)
