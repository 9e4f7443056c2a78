"""The last of what the caller said, and an ear of agentd's own."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.audio.g711 import alaw_to_slin, slin_to_alaw, slin_to_ulaw, ulaw_to_slin
from agentd.serving.caller_audio import KEPT_SECONDS, PAUSE_SECONDS, Block, CallerAudio, Piece

unhurried = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

RATE = 8000
QUIET, SPEECH = -70.0, -25.0


def noise(seconds: float, dbfs: float, seed: int = 1) -> bytes:
    """Even noise of this level."""
    peak = 32768 * 10 ** (dbfs / 20) * 3**0.5
    samples = np.random.default_rng(seed).uniform(-peak, peak, round(seconds * RATE))
    return np.rint(samples).astype("<i2").tobytes()


def heard(*pieces: tuple[float, float], chunk: float = 0.02, rate: int = RATE) -> CallerAudio:
    """What comes of pieces of so many seconds and dBFS each, the first of which begins at second 10."""
    audio = CallerAudio(rate)
    pcm = b"".join(noise(seconds, dbfs) for seconds, dbfs in pieces)
    size, at = round(chunk * RATE) * 2, 10.0
    for begin in range(0, len(pcm), size):
        piece = pcm[begin : begin + size]
        at += len(piece) / 2 / RATE
        audio.hear(piece, at)
    return audio


# --- what is kept


def test_what_arrived_since_a_moment_is_given_again_in_order() -> None:
    audio = CallerAudio(RATE)
    for n in range(10):
        audio.hear(bytes([n, 0] * 160), float(n))
    assert audio.since(7.0) == [Piece(bytes([n, 0] * 160), float(n)) for n in (7, 8, 9)]
    assert audio.since(9.5) == []
    assert len(audio.since(-1.0)) == 10


@pytest.mark.parametrize("rate", [8000, 16000])
def test_only_the_last_of_it_is_kept(rate: int) -> None:
    audio = CallerAudio(rate)
    frames = round(2 * KEPT_SECONDS / 0.02)
    for n in range(frames):
        audio.hear(n.to_bytes(2, "little") * (rate // 50), n * 0.02)
    kept = audio.since(0.0)
    assert sum(len(piece.pcm) for piece in kept) / 2 / rate == pytest.approx(KEPT_SECONDS, abs=0.021)
    assert kept[-1].pcm[:2] == (frames - 1).to_bytes(2, "little")


def test_a_line_that_brings_nothing_fills_no_memory() -> None:
    audio = CallerAudio(RATE)
    for n in range(1000):
        audio.hear(b"", float(n))
    assert audio.since(0.0) == []


def test_no_words_are_in_a_log() -> None:
    assert "7" not in repr(Piece(b"\x07" * 320, 1.0)).replace("at=1.0", "")


def spoken(seconds: float) -> bytes:
    return noise(seconds, SPEECH)


@pytest.mark.parametrize(
    ("carried", "kept"),
    [
        pytest.param(lambda pcm: bytes(len(pcm)), 0.0, id="silence"),
        pytest.param(lambda pcm: ulaw_to_slin(slin_to_ulaw(pcm)), 0.5, id="u-law"),
        pytest.param(lambda pcm: alaw_to_slin(slin_to_alaw(pcm)), 0.5, id="A-law"),
        pytest.param(lambda pcm: pcm, 1.0, id="anything else"),
        pytest.param(lambda pcm: pcm[:-1], 1.0, id="half a sample"),
    ],
)
def test_what_is_kept_takes_as_little_as_may_be_and_no_sample_is_changed(
    carried: Callable[[bytes], bytes], kept: float
) -> None:
    pcm = carried(spoken(1.0))
    pieces = [Piece(pcm[begin : begin + 320], begin / 16000) for begin in range(0, len(pcm), 320)]
    block = Block.of(pieces, 1.0)
    assert list(block.pieces()) == pieces
    assert len(block._kept) == pytest.approx(kept * len(pcm), abs=1)


@pytest.mark.parametrize("carried", [lambda pcm: pcm, lambda pcm: ulaw_to_slin(slin_to_ulaw(pcm))])
def test_all_of_the_last_seconds_is_given_as_it_came(carried: Callable[[bytes], bytes]) -> None:
    pcm, audio = carried(spoken(2 * KEPT_SECONDS)), CallerAudio(RATE)
    pieces = [Piece(pcm[begin : begin + 320], begin / 16000) for begin in range(0, len(pcm), 320)]
    for piece in pieces:
        audio.hear(piece.pcm, piece.at)
    last = round(KEPT_SECONDS / 0.02)
    assert audio.since(0.0) == pieces[-last:]
    assert audio.since(pieces[-30].at) == pieces[-30:]


@unhurried
@given(st.lists(st.integers(0, 4 * RATE), max_size=40))
def test_memory_is_bounded_however_it_comes(lengths: list[int]) -> None:
    audio = CallerAudio(RATE)
    for at, samples in enumerate(lengths):
        audio.hear(bytes(2 * samples), float(at))
        assert sum(len(piece.pcm) for piece in audio.since(0.0)) / 2 / RATE <= KEPT_SECONDS + 1e-6


# --- agentd's own ear


def test_silence_is_no_speech() -> None:
    audio = heard((5.0, QUIET))
    assert (audio.spoke_from, audio.spoke_until) == (None, None)


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3])
def test_a_knock_is_no_speech(seconds: float) -> None:
    audio = heard((1.0, QUIET), (seconds, -10.0), (2.0, QUIET))
    assert audio.spoke_from is None


def test_one_knock_a_second_is_no_speech_however_many_there_are() -> None:
    audio = heard(*[(0.1, -10.0), (1.0, QUIET)] * 20)
    assert audio.spoke_from is None


def test_while_the_caller_speaks_the_end_is_not_known() -> None:
    audio = heard((1.0, QUIET), (1.0, SPEECH))
    assert audio.spoke_from == pytest.approx(11.0, abs=0.021)
    assert audio.spoke_until is None


def test_a_pause_between_words_ends_nothing() -> None:
    audio = heard((1.0, QUIET), (0.5, SPEECH), (PAUSE_SECONDS - 0.1, QUIET), (0.5, SPEECH), (1.0, QUIET))
    assert audio.spoke_from == pytest.approx(11.0, abs=0.021)
    assert audio.spoke_until == pytest.approx(12.5, abs=0.021)


def test_the_last_stretch_counts() -> None:
    audio = heard((1.0, QUIET), (0.6, SPEECH), (1.0, QUIET), (0.6, SPEECH), (1.0, QUIET))
    assert (audio.spoke_from, audio.spoke_until) == (pytest.approx(12.6, abs=0.021), pytest.approx(13.2, abs=0.021))


def test_a_knock_after_a_speech_changes_nothing() -> None:
    audio = heard((1.0, QUIET), (0.6, SPEECH), (1.0, QUIET), (0.1, -10.0), (1.0, QUIET))
    assert (audio.spoke_from, audio.spoke_until) == (pytest.approx(11.0, abs=0.021), pytest.approx(11.6, abs=0.021))


def test_a_noise_that_stays_is_no_speech_any_more() -> None:
    audio = heard((30.0, -35.0), (0.5, -35.0))
    assert audio.spoke_until is not None, "the ear has got used to it"


def test_speech_is_found_above_a_noise_that_stays() -> None:
    audio = heard((30.0, -40.0), (1.0, -15.0), (1.0, -40.0))
    assert audio.spoke_from == pytest.approx(40.0, abs=0.021)
    assert audio.spoke_until == pytest.approx(41.0, abs=0.021)


@unhurried
@given(
    before=st.floats(0.2, 3.0),
    spoken=st.floats(0.6, 3.0),
    chunk=st.sampled_from([0.005, 0.01, 0.02, 0.03, 0.04, 0.06]),
)
def test_speech_is_found_within_its_edges_however_it_is_chunked(before: float, spoken: float, chunk: float) -> None:
    audio = heard((before, QUIET), (spoken, SPEECH), (1.0, QUIET), chunk=chunk)
    edge = chunk + 0.001
    assert audio.spoke_from == pytest.approx(10.0 + before, abs=edge)
    assert audio.spoke_until == pytest.approx(10.0 + before + spoken, abs=edge)


@pytest.mark.parametrize(
    ("pieces", "at"),
    [
        ([(5.0, QUIET)], -math.inf),
        ([(1.0, QUIET), (0.1, SPEECH), (3.0, QUIET)], -math.inf),
        ([(1.0, QUIET), (1.0, SPEECH), (5.0, QUIET)], 12.0),
        ([(1.0, QUIET), (1.0, SPEECH)], 12.0),
        ([(1.0, QUIET), (1.0, SPEECH), (5.0, QUIET), (2.0, SPEECH)], 19.0),
    ],
    ids=["nobody", "a click", "speech that is over", "speech that lasts", "the last of two"],
)
def test_when_the_caller_was_heard_last(pieces: list[tuple[float, float]], at: float) -> None:
    assert heard(*pieces).heard_at == pytest.approx(at, abs=0.05)
