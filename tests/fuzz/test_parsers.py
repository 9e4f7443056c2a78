"""Whatever bytes a peer sends, its parser gives a value or refuses them with its own error."""

import json
import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.run import Fuzzer, open_fuzzer
from tests.fuzz.target import pieces
from tests.fuzz.targets import TARGETS
from tests.fuzz.values import mutated

INPUTS = 50_000
"""Of each parser. `just fuzz` tries more."""
FEWER = {
    "openai-realtime": 5_000,
    "deepgram-agent": 5_000,
    "clauses": 5_000,
    "health-page": 10_000,
    "private-words": 10_000,
}
"""Of those whose input goes through a whole machine, at a millisecond or two each."""
needs_atheris = pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris has no wheel for this Python")


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    with open_fuzzer() as fuzzer:
        yield fuzzer


@pytest.mark.long
@needs_atheris
@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_are_taken_or_refused(target: str, fuzzer: Fuzzer, tmp_path: Path) -> None:
    inputs = FEWER.get(target, INPUTS)
    fuzzed = fuzzer.fuzz(target, inputs, 1, tmp_path)
    assert not fuzzed.fault, fuzzed.fault
    assert fuzzed.inputs >= inputs


@pytest.mark.parametrize("target", TARGETS)
def test_the_fuzzer_begins_with_inputs_that_the_parser_knows(target: str) -> None:
    """At least one seed is taken, so that the fuzzer starts behind the first refusal."""
    taken = 0
    for seed in TARGETS[target].seeds:
        try:
            TARGETS[target].take(seed)
        except TARGETS[target].refuses:
            continue
        taken += 1
    assert taken


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff", b"\x00abc", b"\x80abcdefghij", b"\xffabcdefghij"])
def test_a_stream_in_pieces_is_the_same_stream(data: bytes) -> None:
    assert b"".join(pieces(data)) == data[1:]


def test_values_are_changed_and_what_comes_is_json_again() -> None:
    data = b'\x80{"type":"a","data":{"rate":16000,"names":["x",null]}}\nabcd'
    made = {mutated(data, 1000, seed, lambda data, _most: data) for seed in range(400)}
    assert len(made) > 100
    for each in made - {data}:
        lines = each.split(b"\n")
        assert lines[-1] == b"abcd"
        assert lines[0].startswith(b"\x80")
        json.loads(lines[0][1:])


def test_what_is_too_long_or_no_json_is_changed_by_its_letters() -> None:
    def letters(data: bytes, most: int) -> bytes:
        return b"letters"[:most]

    assert mutated(b"no json", 1000, 1, letters) == b"letters"
    assert all(len(mutated(b'{"a":"bcdefghijk"}', 10, seed, letters)) <= 10 for seed in range(100))
    assert mutated(b"", 1000, random.randrange(100), letters) == b"letters"
