"""Asterisk's names for audio, and what follows from them."""

import pytest

from agentd.audio.formats import FORMAT_NAMES, SLIN8, AudioFormat, Encoding


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_name_is_read_and_written_alike(name: str) -> None:
    assert str(AudioFormat.parse(name)) == name


@pytest.mark.parametrize(
    ("name", "rate", "frame_bytes"),
    [
        ("slin", 8000, 320),
        ("slin12", 12000, 480),
        ("slin16", 16000, 640),
        ("slin24", 24000, 960),
        ("slin32", 32000, 1280),
        ("slin44", 44100, 1764),
        ("slin48", 48000, 1920),
        ("slin96", 96000, 3840),
        ("slin192", 192000, 7680),
        ("ulaw", 8000, 160),
        ("alaw", 8000, 160),
    ],
)
def test_a_frame_is_twenty_milliseconds(name: str, rate: int, frame_bytes: int) -> None:
    audio = AudioFormat.parse(name)
    assert (audio.rate, audio.frame_bytes) == (rate, frame_bytes)
    assert audio.bytes_per_second == 50 * frame_bytes
    assert len(audio.silence_frame) == frame_bytes


def test_silence_differs_by_encoding() -> None:
    assert SLIN8.silence_frame == bytes(320)
    assert AudioFormat.parse("ulaw").silence_frame == b"\xff" * 160
    assert AudioFormat.parse("alaw").silence_frame == b"\xd5" * 160


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown audio format 'slin11'.*slin, slin12.*ulaw, alaw"):
        AudioFormat.parse("slin11")


@pytest.mark.parametrize(
    ("encoding", "rate"),
    [(Encoding.ULAW, 16000), (Encoding.ALAW, 48000), (Encoding.SLIN, 22050), (Encoding.SLIN, 0)],
)
def test_a_rate_that_asterisk_has_no_name_for_is_refused(encoding: Encoding, rate: int) -> None:
    with pytest.raises(ValueError, match=rf"{encoding.value} at {rate} Hz.*8000"):
        AudioFormat(encoding, rate)
