"""G.711 against the decision values of the recommendation's Tables 1a and 2a, segment by segment."""

from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.g711 import alaw_to_slin, slin_to_alaw, slin_to_ulaw, ulaw_to_slin

Codec = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]
BOTH: list[Codec] = [(slin_to_ulaw, ulaw_to_slin), (slin_to_alaw, alaw_to_slin)]
EVERY_BYTE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype("<i2").tobytes()


def samples(slin: bytes) -> list[int]:
    return [int(sample) for sample in np.frombuffer(slin, "<i2")]


def ulaw_edges() -> list[int]:
    """Lower edges of the 128 steps in 16 bits: 1, 15 of 2, then 16 each of 4, 8, ... 256 (14-bit units)."""
    widths = [1] + [2] * 15 + [2 << segment for segment in range(1, 8) for _ in range(16)]
    return [4 * sum(widths[:step]) for step in range(128)]


def alaw_edges() -> list[int]:
    """Lower edges of the 128 steps in 16 bits: 32 of 2, then 16 each of 4, 8, ... 128 (13-bit units)."""
    widths = [2] * 32 + [2 << segment for segment in range(1, 7) for _ in range(16)]
    return [8 * sum(widths[:step]) for step in range(128)]


def test_ulaw_steps_lie_where_the_recommendation_puts_them() -> None:
    edges = ulaw_edges()
    for sample, code in zip(samples(EVERY_SAMPLE), slin_to_ulaw(EVERY_SAMPLE), strict=True):
        step = bisect_right(edges, min(abs(sample), 32767)) - 1
        assert code == (0xFF if sample >= 0 else 0x7F) - step


def test_alaw_steps_lie_where_the_recommendation_puts_them() -> None:
    edges = alaw_edges()
    for sample, code in zip(samples(EVERY_SAMPLE), slin_to_alaw(EVERY_SAMPLE), strict=True):
        step = bisect_right(edges, min(abs(sample), 32767)) - 1
        assert code == ((0x80 if sample >= 0 else 0) + step) ^ 0x55


def test_ulaw_decodes_to_the_middle_of_each_step() -> None:
    edges = [*ulaw_edges(), 4 * 8159]
    decoded = samples(ulaw_to_slin(EVERY_BYTE))
    assert decoded[0xFF] == decoded[0x7F] == 0
    for step in range(1, 128):
        middle = (edges[step] + edges[step + 1]) // 2
        assert (decoded[0xFF - step], decoded[0x7F - step]) == (middle, -middle)


def test_alaw_decodes_to_the_middle_of_each_step() -> None:
    edges = [*alaw_edges(), 8 * 4096]
    decoded = samples(alaw_to_slin(EVERY_BYTE))
    for step in range(128):
        middle = (edges[step] + edges[step + 1]) // 2
        assert (decoded[(0x80 + step) ^ 0x55], decoded[step ^ 0x55]) == (middle, -middle)


def test_the_loudest_values_are_those_of_the_recommendation() -> None:
    assert samples(ulaw_to_slin(b"\x80\x00")) == [32124, -32124]
    assert samples(alaw_to_slin(b"\xaa\x2a")) == [32256, -32256]


@pytest.mark.parametrize(("encode", "decode"), BOTH)
def test_a_decoded_byte_encodes_to_itself(encode: Callable[[bytes], bytes], decode: Callable[[bytes], bytes]) -> None:
    again = encode(decode(EVERY_BYTE))
    # u-law has two zeros; the negative one comes back as the positive.
    assert [b for b in EVERY_BYTE if again[b] != b] == ([0x7F] if encode is slin_to_ulaw else [])


@pytest.mark.parametrize(("encode", "decode"), BOTH)
@given(slin=st.lists(st.integers(-32768, 32767)))
def test_a_round_trip_stays_near(
    encode: Callable[[bytes], bytes], decode: Callable[[bytes], bytes], slin: list[int]
) -> None:
    heard = samples(decode(encode(np.array(slin, "<i2").tobytes())))
    assert len(heard) == len(slin)
    for before, after in zip(slin, heard, strict=True):
        assert abs(after - before) <= max(16, abs(before) / 32 + 8)


@pytest.mark.parametrize("encode", [slin_to_ulaw, slin_to_alaw])
def test_half_a_sample_is_refused(encode: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError, match="whole 16-bit slin samples, got 3 bytes"):
        encode(b"\0\0\0")
