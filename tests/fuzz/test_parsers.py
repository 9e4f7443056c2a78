"""Whatever bytes a peer sends, its parser gives a value or refuses them with its own error."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS, pieces

INPUTS = 50_000
"""`just fuzz` tries more."""
needs_atheris = pytest.mark.skipif(find_spec("atheris") is None, reason="Atheris has no wheel for this Python")


@needs_atheris
@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_are_taken_or_refused(target: str, tmp_path: Path) -> None:
    fuzzed = fuzz(target, INPUTS, 1, tmp_path)
    assert not fuzzed.fault, fuzzed.fault
    assert fuzzed.inputs >= INPUTS


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
