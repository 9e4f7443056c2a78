"""The resampler of the live line: short, clean, and indifferent to how the audio was cut."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.resample import RATES, Resampler, convert

Samples = npt.NDArray[np.float64]
PAIRS = list(itertools.permutations(RATES, 2))
DOWN = [
    (24000, 8000),
    (22050, 8000),
    (16000, 8000),
    (48000, 8000),
    (44100, 8000),
    (44100, 16000),
    (11025, 8000),
]
UP = [(8000, 16000), (8000, 24000), (8000, 48000), (8000, 11025), (16000, 22050), (22050, 24000)]


def slin(samples: Samples) -> bytes:
    return np.rint(samples).astype("<i2").tobytes()


def samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def tone(frequency: float, rate: int, seconds: float = 0.2, amplitude: float = 20000) -> Samples:
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def steady(out: Samples) -> Samples:
    """Without the first and the last 10 %, where a tone that starts or stops at once is more than a tone."""
    return out[len(out) // 10 : -len(out) // 10]


def decibels(out: Samples, reference: Samples) -> float:
    return float(10 * np.log10(np.mean(out**2) / np.mean(reference**2) + 1e-20))


def split(out: Samples, frequency: float, rate: int) -> tuple[Samples, Samples]:
    """What of `out` is that tone, and what is anything else."""
    angle = 2 * np.pi * frequency * np.arange(len(out)) / rate
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    wanted = basis @ np.linalg.lstsq(basis, out, rcond=None)[0]
    return wanted, out - wanted


def in_chunks(resampler: Resampler, pcm: bytes, size: int) -> bytes:
    return b"".join(resampler.feed(pcm[at : at + size]) for at in range(0, len(pcm), size)) + resampler.flush()


@pytest.mark.parametrize(("source", "target"), DOWN)
def test_a_tone_above_the_new_band_leaves_an_alias_below_minus_fifty_decibels(source: int, target: int) -> None:
    for frequency in np.linspace(target / 2, source / 2 * 0.999, 40):
        loud = tone(frequency, source)
        assert decibels(steady(samples(convert(slin(loud), source, target))), loud) < -50, frequency


@pytest.mark.parametrize(("source", "target"), [(24000, 8000), (22050, 8000)])
def test_a_sweep_above_the_new_band_fed_in_frames_is_silent(source: int, target: int) -> None:
    seconds = np.arange(2 * source) / source
    low, high = target / 2, source / 2
    sweep = 20000 * np.sin(2 * np.pi * (low * seconds + (high - low) / 4 * seconds**2))
    out = samples(in_chunks(Resampler(source, target), slin(sweep), source // 50 * 2))
    assert decibels(steady(out), sweep) < -50


@pytest.mark.parametrize(("source", "target"), DOWN + UP)
def test_a_sweep_of_the_telephone_band_is_flat_within_a_decibel_and_clean(source: int, target: int) -> None:
    for frequency in np.linspace(100, 0.83 * min(source, target) / 2, 25):
        before = tone(frequency, source)
        out = steady(samples(convert(slin(before), source, target)))
        wanted, rest = split(out, frequency, target)
        assert abs(decibels(wanted, before)) < 1, frequency
        assert decibels(rest, before) < -50, frequency


@pytest.mark.parametrize(("source", "target"), UP)
def test_a_tone_up_to_the_edge_of_the_old_band_leaves_an_image_below_minus_fifty_decibels(
    source: int, target: int
) -> None:
    for frequency in np.linspace(0.83, 0.99, 8) * source / 2:
        before = tone(frequency, source)
        _, rest = split(steady(samples(convert(slin(before), source, target))), frequency, target)
        assert decibels(rest, before) < -50, frequency


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_any_two_rates_convert_cleanly_with_at_most_five_milliseconds_of_delay(source: int, target: int) -> None:
    assert 0 < Resampler(source, target).delay_ms <= 5
    before = tone(1000, source, seconds=0.05)
    wanted, rest = split(steady(samples(convert(slin(before), source, target))), 1000, target)
    assert abs(decibels(wanted, before)) < 0.1
    assert decibels(rest, before) < -60


@given(
    pair=st.sampled_from([*PAIRS, (8000, 8000)]),
    pcm=st.binary(max_size=3000),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
)
def test_the_output_is_the_same_for_any_chunking(pair: tuple[int, int], pcm: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(pcm)]
    resampler = Resampler(*pair)
    pieces = [resampler.feed(pcm[start:stop]) for start, stop in itertools.pairwise(edges)]
    assert b"".join(pieces) + resampler.flush() == convert(pcm, *pair)


def test_frames_of_any_size_and_single_bytes_give_what_the_whole_gives() -> None:
    noise = slin(np.random.default_rng(1).uniform(-32768, 32767, 3000))
    for source, target in [(22050, 8000), (8000, 16000), (24000, 8000)]:
        whole = convert(noise, source, target)
        for size in (1, 7, 320, 882, 5000):
            assert in_chunks(Resampler(source, target), noise, size) == whole


@given(pair=st.sampled_from(PAIRS), count=st.integers(0, 4000))
def test_a_flushed_utterance_has_exactly_its_length(pair: tuple[int, int], count: int) -> None:
    source, target = pair
    assert len(convert(bytes(2 * count), source, target)) == 2 * round(count * target / source)


@given(st.sampled_from(PAIRS))
def test_what_is_held_back_is_never_more_than_the_delay(pair: tuple[int, int]) -> None:
    source, target = pair
    resampler, out = Resampler(source, target), 0
    for frame in range(1, 6):
        out += len(resampler.feed(bytes(source // 50 * 2))) // 2
        missing = frame * (source // 50) / source - out / target
        assert -1e-9 <= missing <= resampler.delay_ms / 1000 + 1e-9


@pytest.mark.parametrize(("source", "target"), [(22050, 8000), (8000, 24000), (44100, 48000)])
def test_nothing_moves_in_time(source: int, target: int) -> None:
    seconds = np.arange(source // 5) / source
    hump = slin(20000 * np.exp(-(((seconds - 0.1) / 0.002) ** 2)))
    assert int(np.argmax(samples(convert(hump, source, target)))) == pytest.approx(0.1 * target, abs=1)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_constant_stays_that_constant(source: int, target: int) -> None:
    out = steady(samples(convert(slin(np.full(source // 20, 12345.0)), source, target)))
    assert set(out) == {12345.0}


@pytest.mark.parametrize(("source", "target"), [(24000, 8000), (8000, 24000), (22050, 8000)])
def test_overshoot_saturates_instead_of_wrapping(source: int, target: int) -> None:
    half = source // 100
    square = np.tile(np.repeat([32767.0, -32768.0], half), 10)
    out = samples(convert(slin(square), source, target))
    assert out.max() == 32767
    assert out.min() == -32768
    ideal = np.sign(np.sin(2 * np.pi * 50 * (np.arange(len(out)) + 0.5) / target))
    moments_from_an_edge = np.abs((np.arange(len(out)) * 100 / target) % 1 - 0.5) < 0.4
    assert np.all((out * ideal)[moments_from_an_edge] > 20000)


def test_after_a_flush_the_next_utterance_comes_out_as_the_first_did() -> None:
    resampler = Resampler(22050, 8000)
    speech = slin(tone(440, 22050))
    first = resampler.feed(speech + b"\x7f") + resampler.flush()
    assert resampler.feed(speech) + resampler.flush() == first
    assert resampler.flush() == b""


def test_after_a_clear_nothing_of_the_old_utterance_comes_out() -> None:
    resampler = Resampler(24000, 8000)
    resampler.feed(slin(tone(440, 24000)) + b"\x7f")
    resampler.clear()
    assert resampler.feed(bytes(4800)) + resampler.flush() == bytes(1600)


def test_equal_rates_pass_the_audio_through_at_once() -> None:
    resampler = Resampler(8000, 8000)
    assert resampler.delay_ms == 0
    assert resampler.feed(b"abc") == b"ab"
    assert resampler.feed(b"d") == b"cd"
    assert resampler.flush() == b""


@pytest.mark.parametrize(("source", "target"), [(8000, 7999), (0, 8000), (16001, 8000)])
def test_a_rate_outside_the_list_is_refused(source: int, target: int) -> None:
    with pytest.raises(ValueError, match=f"cannot resample {source} to {target} Hz"):
        Resampler(source, target)
