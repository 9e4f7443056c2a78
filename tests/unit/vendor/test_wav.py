"""Reading a WAV file that is still being written."""

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import ProviderProtocolError
from agentd_providers.vendor.wav import LONGEST_HEADER, WavReader

SAMPLES = bytes(range(200))


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(content) if size is None else size) + content + bytes(len(content) % 2)


def fmt(tag: int = 1, channels: int = 1, rate: int = 22050, bits: int = 16) -> bytes:
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * 2, 2, bits))


def riff(*chunks: bytes, size: int = 0xFFFFFFFF) -> bytes:
    return struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + b"".join(chunks)


def read(file: bytes, step: int = 1 << 20) -> tuple[int, bytes]:
    reader = WavReader("Server", 1 << 20)
    runs = [run for begin in range(0, len(file), step) for run in reader.feed(file[begin : begin + step])]
    return reader.rate, b"".join(pcm for _, pcm in [*runs, *reader.end()])


def test_a_file_of_python_s_wave_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(16000)
        wav.writeframes(SAMPLES)
    assert read(file.getvalue()) == (16000, SAMPLES)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0])
def test_sizes_that_nobody_knew_are_not_believed(size: int) -> None:
    assert read(riff(fmt(), chunk(b"data", SAMPLES, size))) == (22050, SAMPLES)


def test_what_follows_the_samples_is_not_played() -> None:
    assert read(riff(fmt(), chunk(b"data", SAMPLES), chunk(b"LIST", b"made by somebody"))) == (22050, SAMPLES)


def test_notes_before_the_samples_are_passed_over() -> None:
    assert read(riff(chunk(b"LIST", b"odd"), fmt(), chunk(b"fact", bytes(4)), chunk(b"data", SAMPLES)))[1] == SAMPLES


def test_the_extensible_form_is_read() -> None:
    extension = struct.pack("<HHIH14s", 22, 16, 4, 1, bytes(14))
    extensible = chunk(b"fmt ", struct.pack("<HHIIHH", 0xFFFE, 1, 24000, 48000, 2, 16) + extension)
    assert read(riff(extensible, chunk(b"data", SAMPLES))) == (24000, SAMPLES)


@pytest.mark.parametrize(
    "file",
    [
        b"ID3\x04 an mp3",
        b'{"error": "no"}',
        b"RIFX....WAVE",
        b"RIFF....AVI ",
        riff(chunk(b"data", SAMPLES)),
        riff(fmt(tag=3)),
        riff(fmt(tag=2, bits=4)),
        riff(fmt(channels=0)),
        riff(fmt(channels=9)),
        riff(fmt(bits=12)),
        riff(fmt(rate=0)),
        riff(chunk(b"fmt ", b"short")),
        riff(struct.pack("<4sI", b"LIST", 1 << 30)),
        riff(*[chunk(b"LIST", bytes(1000))] * 100),
        riff(*[chunk(b"LIST", bytes(1000))] * 70, fmt(), chunk(b"data", SAMPLES)),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_what_is_no_such_file_is_an_error_however_it_is_cut(file: bytes, step: int) -> None:
    with pytest.raises(ProviderProtocolError, match="Server: expected a WAV file") as caught:
        read(file, step)
    assert len(str(caught.value)) < 300


@given(st.integers(1, 60), st.binary(max_size=100), st.booleans(), st.integers(1, 192000))
def test_where_the_pieces_are_cut_makes_no_difference(step: int, samples: bytes, sized: bool, rate: int) -> None:
    size = len(samples) if sized else 0xFFFFFFFF
    file = riff(fmt(rate=rate), chunk(b"LIST", b"notes"), chunk(b"data", samples, size)[: 8 + len(samples)])
    assert read(file, step) == (rate, samples[: len(samples) & ~1])


@given(st.binary(max_size=300), st.integers(1, 50))
def test_nothing_that_a_peer_sends_is_another_error_or_is_kept(garbage: bytes, step: int) -> None:
    reader = WavReader("Server", 1 << 20)
    try:
        for begin in range(0, len(garbage), step):
            reader.feed(riff(fmt())[begin : begin + step] or garbage[begin : begin + step])
    except ProviderProtocolError:
        pass
    assert len(reader._waiting) <= LONGEST_HEADER
