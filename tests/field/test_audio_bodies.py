"""Audio bodies are judged by what comes: played whole and right, or a failure that is told; never noise, never less.

Each case has its public source beside it.
"""

import math
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.g711 import slin_to_alaw, slin_to_ulaw
from agentd.audio.resample import convert
from agentd.errors import ProviderProtocolError
from agentd_providers.vendor.audio_body import RAW, WAV, AudioBody, judge

RATE, LIMIT = 24000, 90 * 24000 * 2
TONE = (np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE) * 12000).astype("<i2").tobytes()
"""Half a second."""
REAL = np.frombuffer(TONE, "<i2").astype(np.float64) / 32768


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(content) if size is None else size) + content + bytes(len(content) % 2)


def fmt(tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, extra: bytes = b"") -> bytes:
    block = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra)


def wav(*chunks: bytes, form: bytes = b"RIFF", size: int = 0xFFFFFFFF) -> bytes:
    return struct.pack("<4sI4s", form, size, b"WAVE") + b"".join(chunks)


def data(samples: bytes = TONE, size: int | None = None) -> bytes:
    return struct.pack("<4sI", b"data", len(samples) if size is None else size) + samples


def heard(body: bytes, step: int = 1 << 20, raw_rate: int = 0, rate: int = RATE) -> bytes:
    """What of a body is played; raises what is told."""
    audio = AudioBody("Server", rate, raw_rate, LIMIT)
    out = b"".join(audio.feed(body[begin : begin + step]) for begin in range(0, len(body), step)) + audio.flush()
    audio.check()
    return out


def alike(one: bytes, other: bytes, most: float = 0.01) -> bool:
    a, b = (np.frombuffer(each, "<i2").astype(np.float64) for each in (one, other))
    return len(a) == len(b) and float(np.abs(a - b).max(initial=0)) <= most * 32768


LIST = chunk(b"LIST", b"INFOISFT\x0e\x00\x00\x00Lavf60.16.100\x00")
EXTENSION = struct.pack("<HHIH14s", 22, 16, 4, 1, bytes(14))
DS64 = chunk(b"ds64", struct.pack("<QQQI", 0, len(TONE), len(TONE) // 2, 0))
STEREO = np.repeat(np.frombuffer(TONE, "<i2"), 2).tobytes()
INT24 = b"".join(struct.pack("<i", value * 256)[:3] for (value,) in struct.iter_unpack("<h", TONE))

WHOLE = {
    "0xFFFFFFFF, ffmpeg to a pipe: speaches-ai/speaches 493": wav(fmt(), data(size=0xFFFFFFFF)),
    "0x7FFFFFFF: https://github.com/kyutai-labs/pocket-tts/issues/229": wav(fmt(), data(size=0x7FFFFFFF)),
    "0x7FFFF000, sox to a pipe": wav(fmt(), data(size=0x7FFFF000)),
    "2e9: https://github.com/pipecat-ai/pipecat/pull/2008": wav(fmt(), data(size=2_000_000_000)),
    "0, a header before anything was known: pipecat PR 2008": wav(fmt(), data(size=0)),
    "all sizes 0": wav(fmt(), data(size=0), size=0),
    "smaller than the body, the first piece's: speaches 493": wav(fmt(), data(size=4096)),
    "smaller by a frame": wav(fmt(), data(size=len(TONE) - 960)),
    "larger by the header's 44 bytes": wav(fmt(), data(size=len(TONE) + 44)),
    "larger by the RIFF header's 36 bytes": wav(fmt(), data(size=len(TONE) + 36)),
    "LIST before the samples, ffmpeg: speaches 493": wav(fmt(), LIST, data(size=0xFFFFFFFF)),
    "LIST before the format": wav(LIST, fmt(), data()),
    "LIST behind the samples": wav(fmt(), data(), LIST),
    "LIST behind a size of 0": wav(fmt(), data(b"", 0), chunk(b"LIST", b"none"), data()),
    "two notes behind the samples": wav(fmt(), data(), LIST, chunk(b"id3 ", b"odd")),
    "fact and PEAK": wav(fmt(), chunk(b"fact", bytes(4)), chunk(b"PEAK", bytes(16)), data()),
    "JUNK for alignment, pro tools": wav(chunk(b"JUNK", bytes(28)), fmt(), data()),
    "WAVE_FORMAT_EXTENSIBLE": wav(fmt(0xFFFE, extra=EXTENSION), data()),
    "fmt of 18 bytes": wav(fmt(extra=bytes(2)), data()),
    "two data chunks": wav(fmt(), data(TONE[:8000]), data(TONE[8000:])),
    "a WAV file for each sentence: https://github.com/pipecat-ai/pipecat/pull/2008": wav(fmt(), data(TONE[:8000]))
    + wav(fmt(), data(TONE[8000:])),
    "the same with sizes that nobody knew": wav(fmt(), data(TONE[:8000], 0xFFFFFFFF))
    + wav(fmt(), data(TONE[8000:], 0)),
    "the same with notes between": wav(fmt(), data(TONE[:8000]), LIST) + wav(fmt(), data(TONE[8000:])),
    "RF64: EBU Tech 3306": wav(DS64, fmt(), data(size=0xFFFFFFFF), form=b"RF64"),
    "BW64: ITU-R BS.2088": wav(DS64, fmt(), data(size=0xFFFFFFFF), LIST, form=b"BW64"),
    "half a sample at the end": wav(fmt(), data(size=0xFFFFFFFF)) + b"\x00",
}


@pytest.mark.parametrize("step", [1 << 20, 7, 1000])
@pytest.mark.parametrize("case", WHOLE)
def test_a_wav_is_played_whole_whatever_its_sizes_say(case: str, step: int) -> None:
    assert heard(WHOLE[case], step) == TONE


FORMS = {
    "stereo: https://github.com/pollinations/pollinations/pull/11457": (fmt(channels=2), STEREO, 0.001),
    "six channels": (fmt(channels=6), np.repeat(np.frombuffer(TONE, "<i2"), 6).tobytes(), 0.001),
    "8 bits": (fmt(bits=8), (np.rint(REAL * 128) + 128).astype(np.uint8).tobytes(), 0.005),
    "24 bits": (fmt(bits=24), INT24, 0.001),
    "32 bits": (fmt(bits=32), (REAL * 2**31).astype("<i4").tobytes(), 0.001),
    "32-bit float: https://github.com/kyutai-labs/pocket-tts/issues/229": (
        fmt(3, bits=32),
        REAL.astype("<f4").tobytes(),
        0.001,
    ),
    "64-bit float": (fmt(3, bits=64), REAL.astype("<f8").tobytes(), 0.001),
    "stereo float": (fmt(3, 2, bits=32), np.repeat(REAL, 2).astype("<f4").tobytes(), 0.001),
    "extensible float": (
        fmt(0xFFFE, bits=32, extra=struct.pack("<HHIH14s", 22, 32, 4, 3, bytes(14))),
        REAL.astype("<f4").tobytes(),
        0.001,
    ),
    "u-law: RFC 2361": (fmt(7, bits=8), slin_to_ulaw(TONE), 0.02),
    "A-law: RFC 2361": (fmt(6, bits=8), slin_to_alaw(TONE), 0.02),
}


@pytest.mark.parametrize("step", [1 << 20, 7])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
@pytest.mark.parametrize("case", FORMS)
def test_every_form_of_samples_sounds_the_same(case: str, size: int | None, step: int) -> None:
    form, samples, most = FORMS[case]
    assert alike(heard(wav(form, data(samples, size)), step), TONE, most)


def test_floats_that_are_too_loud_or_no_numbers_are_no_noise() -> None:
    odd = np.array([math.nan, math.inf, -math.inf, 7.5, -7.5, 0.0], "<f4").tobytes()
    assert np.frombuffer(heard(wav(fmt(3, bits=32), data(odd))), "<i2").tolist() == [0, 32767, -32768, 32767, -32768, 0]


@pytest.mark.parametrize("rates", [(24000, 16000), (22050, 24000), (8000, 48000)])
def test_a_rate_that_changes_within_a_body_changes_nothing_of_the_length(rates: tuple[int, int]) -> None:
    body = b"".join(wav(fmt(rate=rate), data(convert(TONE, RATE, rate), 0xFFFFFFFF)) for rate in rates)
    expected = b"".join(convert(convert(TONE, RATE, rate), rate, 8000) for rate in rates)
    assert heard(body, rate=8000) == heard(body, 7, rate=8000) == expected


def mp3(length: int = 3000) -> bytes:
    frame = b"\xff\xfb\x90\x00" + bytes(range(256)) * 2
    frame = frame[:417]  # MPEG 1, layer III, 128 kbps, 44.1 kHz
    return (frame * (length // len(frame) + 1))[:length]


def adts() -> bytes:
    frame = b"\xff\xf1\x50\x80\x20\x1f\xfc" + bytes(249)  # 256 bytes
    return frame * 6


NOT_AUDIO = {
    "MP3 with tags: https://github.com/pipecat-ai/pipecat/pull/2008": b"ID3\x04\x00\x00\x00\x00\x00\x23TSSE" + mp3(),
    "bare MP3, what OpenAI's endpoint gives by default": mp3(),
    "MP3 at 24 kHz": b"\xff\xf3\x84\xc4" + bytes(188) + b"\xff\xf3\x84\xc4" + bytes(400),
    "AAC in ADTS": adts(),
    "Ogg": b"OggS\x00\x02" + bytes(100) + b"OpusHead",
    "FLAC": b"fLaC\x00\x00\x00\x22" + bytes(100),
    "AIFF": b"FORM\x00\x00\x10\x00AIFF" + bytes(100),
    "WebM": b"\x1aE\xdf\xa3" + bytes(100),
    "MP4": b"\x00\x00\x00\x20ftypM4A " + bytes(100),
    "AU": b".snd\x00\x00\x00\x18" + bytes(100),
    "RIFX": b"RIFX\x00\x00\x00\x24WAVEfmt " + bytes(100),
    "AVI": b"RIFF\x00\x00\x10\x00AVI LIST" + bytes(100),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(100),
    "JSON at status 200: ggml-org/llama.cpp 14566": b'{"error": {"message": "the model is not loaded", "code": 503}}',
    "short JSON": b'{"detail": "no"}',
    "pretty JSON": b'{\n  "error": "voice not found",\n  "code": 404\n}',
    "HTML of a proxy": b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>",
    "HTML with a mark": b"\xef\xbb\xbf<html><body>Service unavailable, please come back</body></html>",
    "XML": b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>',
    "plain text": b"upstream connect error or disconnect/reset before headers",
    "text that is not English": "Der Dienst ist vorübergehend nicht verfügbar.".encode(),
    "an SSE stream": b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n',
    "base64": b"UklGRiQAAABXQVZFZm10IBAAAAABAAEA",
}


@pytest.mark.parametrize("raw_rate", [0, 24000])
@pytest.mark.parametrize("step", [1 << 20, 7, 1])
@pytest.mark.parametrize("case", NOT_AUDIO)
def test_what_is_no_audio_is_told_and_nothing_of_it_is_heard(case: str, step: int, raw_rate: int) -> None:
    audio = AudioBody("Server", 8000, raw_rate, LIMIT)
    body, out = NOT_AUDIO[case], b""
    with pytest.raises(ProviderProtocolError, match="Server: expected") as caught:
        for begin in range(0, len(body), step):
            out += audio.feed(body[begin : begin + step])
        out += audio.flush()
    assert out == b""
    assert len(str(caught.value)) < 300


BROKEN = {
    "ADPCM": wav(fmt(2, bits=4), data()),
    "GSM in a WAV: Asterisk's wav49": wav(fmt(0x31, bits=0), data()),
    "MP3 in a WAV": wav(fmt(0x55, bits=0), data()),
    "12 bits": wav(fmt(bits=12), data()),
    "no channel": wav(fmt(channels=0), data()),
    "no rate": wav(fmt(rate=0), data()),
    "a rate that nobody converts": wav(fmt(rate=37800), data()),
    "samples before the format": wav(data(), fmt()),
    "only a header": wav(fmt()),
    "half a header": wav(fmt())[:20],
    "cut in the middle": wav(fmt(), data())[: 44 + len(TONE) // 2],
    "cut, 30 ms missing": wav(fmt(), data())[:-1440],
    "cut in the second of two files": wav(fmt(), data()) + wav(fmt(), data())[:2000],
}


@pytest.mark.parametrize("step", [1 << 20, 7])
@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_or_cut_is_told(case: str, step: int) -> None:
    with pytest.raises(ProviderProtocolError, match="Server: "):
        heard(BROKEN[case], step)


def test_of_a_cut_body_all_that_came_is_played_before_it_is_told() -> None:
    audio = AudioBody("Server", RATE, 0, LIMIT)
    assert audio.feed(wav(fmt(), data())[: 44 + 12000]) + audio.flush() == TONE[:12000]
    with pytest.raises(ProviderProtocolError, match="the audio is cut: it ends 12000 bytes before the 24000"):
        audio.check()


RAWS = {
    "a tone": TONE,
    "an odd byte: https://github.com/pipecat-ai/pipecat/pull/2008": TONE + b"\x01",
    "quiet, below zero": np.full(4000, -100, "<i2").tobytes(),
    "silence": bytes(8000),
    "begins like MPEG": b"\xff\xfb" + TONE,
    "begins like a whole header of MPEG": b"\xff\xfb\x90\x00" + TONE,
    "begins with two letters": b"RI" + TONE,
    "a single sample": b"\x01\x80",
}


@pytest.mark.parametrize("step", [1 << 20, 7, 1])
@pytest.mark.parametrize("case", RAWS)
def test_raw_samples_are_played_as_they_are(case: str, step: int) -> None:
    assert heard(RAWS[case], step, raw_rate=RATE) == RAWS[case][: len(RAWS[case]) & ~1]


@pytest.mark.parametrize("step", [1 << 20, 7])
def test_a_wav_where_raw_samples_were_asked_for_is_played_at_its_own_rate(step: int) -> None:
    # Deepgram's default container, and servers that ignore response_format
    body = wav(fmt(rate=16000), data(convert(TONE, RATE, 16000), 0xFFFFFFFF))
    assert heard(body, step, raw_rate=24000, rate=8000) == convert(convert(TONE, RATE, 16000), 16000, 8000)


# --- properties


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(1, 30000), max_size=6))
def test_where_a_body_is_cut_into_pieces_makes_no_difference(case: str, cuts: list[int]) -> None:
    body = WHOLE[case]
    at = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    audio = AudioBody("Server", RATE, 0, LIMIT)
    pieces = [audio.feed(body[begin:end]) for begin, end in pairwise(at)]
    assert b"".join(pieces) + audio.flush() == TONE


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 30000))
def test_a_body_that_ends_early_is_heard_as_far_as_it_came_or_told_never_as_noise(case: str, end: int) -> None:
    body = WHOLE[case][: end % len(WHOLE[case])]
    audio = AudioBody("Server", RATE, 0, LIMIT)
    out = b""
    try:
        out = audio.feed(body)
        out += audio.flush()
        audio.check()
    except ProviderProtocolError:
        pass
    assert TONE.startswith(out)


@given(st.binary(max_size=400), st.integers(1, 50), st.sampled_from([0, 24000]))
def test_any_bytes_are_audio_or_told(body: bytes, step: int, raw_rate: int) -> None:
    try:
        heard(body, step, raw_rate, 8000)
    except ProviderProtocolError as error:
        assert str(error).startswith("Server: ")


@given(st.lists(st.integers(-3000, 3000), min_size=20, max_size=200))
def test_samples_of_speech_are_taken_for_nothing_else(samples: list[int]) -> None:
    assert judge(np.array(samples, "<i2").tobytes(), complete=True) == RAW
    assert judge(wav(fmt()), complete=False) == WAV
