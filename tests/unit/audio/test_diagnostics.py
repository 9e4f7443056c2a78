"""What the line really sends, told from its first second."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.audio.diagnostics import FRAMES, InboundDiagnostics, InboundReport
from agentd.audio.formats import FORMAT_NAMES, SLIN8, AudioFormat
from agentd.audio.g711 import slin_to_alaw, slin_to_ulaw

ULAW = AudioFormat.parse("ulaw")


def voice(rate: int = 8000, seconds: float = 1.0, amplitude: float = 6000) -> bytes:
    """A hummed vowel: harmonics of a wavering pitch, softer towards the top, in syllables, with breath."""
    at = np.arange(int(rate * seconds)) / rate
    phase = 2 * np.pi * (120 * at + 2 * np.sin(5 * at))
    hum = sum(np.sin(k * phase + k * k) / k for k in range(1, 25))
    syllables = 0.1 + np.abs(np.sin(2 * np.pi * 1.7 * at))
    breath = np.random.default_rng(7).normal(0, 0.02, len(at))
    return bytes(np.rint(amplitude * (hum * syllables + breath)).clip(-32768, 32767).astype("<i2"))


def noise(sigma: float) -> bytes:
    return np.rint(np.random.default_rng(3).normal(0, sigma, 8000)).astype("<i2").tobytes()


def listened(
    audio: bytes, expected: AudioFormat = SLIN8, frame_bytes: int = 320, interval: float = 0.02
) -> InboundReport:
    diagnostics = InboundDiagnostics(expected)
    for number in range(FRAMES):
        diagnostics.feed(audio[number * frame_bytes :][:frame_bytes], 1000 + number * interval)
    report = diagnostics.report()
    assert report is not None
    return report


def test_a_voice_as_expected_is_confirmed() -> None:
    report = listened(voice())
    assert report.inferred == "slin 8000 Hz"
    assert report.as_expected is True
    assert report.frame_sizes == (320,) * 5
    assert report.frames_per_second == pytest.approx(50)
    assert report.bytes_per_second == pytest.approx(16000)
    assert -30 < report.rms_dbfs < report.peak_dbfs <= 0


@pytest.mark.parametrize(
    ("audio", "frame_bytes", "inferred"),
    [
        (slin_to_ulaw(voice()), 160, "looks like u-law 8000 Hz read as slin 8000 Hz"),
        (slin_to_alaw(voice()), 160, "looks like A-law 8000 Hz read as slin 8000 Hz"),
        (voice(16000), 640, "looks like slin 16000 Hz read as slin 8000 Hz"),
        (voice(48000), 1920, "looks like slin 48000 Hz read as slin 8000 Hz"),
        (
            np.frombuffer(voice(), "<i2").astype(">i2").tobytes(),
            320,
            "looks like byte-swapped slin 8000 Hz read as slin 8000 Hz",
        ),
        (b"\xff" * 8000, 160, "looks like u-law 8000 Hz read as slin 8000 Hz"),
        (b"\xd5" * 8000, 160, "looks like A-law 8000 Hz read as slin 8000 Hz"),
    ],
    ids=["u-law", "A-law", "slin16", "slin48", "byte-swapped", "idle u-law", "idle A-law"],
)
def test_a_line_declared_wrongly_is_recognised(audio: bytes, frame_bytes: int, inferred: str) -> None:
    report = listened(audio, SLIN8, frame_bytes)
    assert report.inferred == inferred
    assert report.as_expected is False


def test_slin_on_a_line_declared_ulaw_is_recognised() -> None:
    assert listened(voice(), ULAW).inferred == "looks like slin 8000 Hz read as u-law 8000 Hz"


def test_ulaw_on_a_line_declared_ulaw_is_confirmed() -> None:
    report = listened(slin_to_ulaw(voice()), ULAW, 160)
    assert (report.inferred, report.as_expected) == ("u-law 8000 Hz", True)


@pytest.mark.parametrize("name", [name for name in FORMAT_NAMES if name.startswith("slin")])
def test_every_slin_rate_is_confirmed_where_it_is_expected(name: str) -> None:
    expected = AudioFormat.parse(name)
    report = listened(voice(expected.rate), expected, expected.frame_bytes)
    assert (report.inferred, report.as_expected) == (f"slin {expected.rate} Hz", True)


@pytest.mark.parametrize("audio", [bytes(16000), noise(3)], ids=["zeros", "a quiet line"])
def test_silence_says_nothing_about_the_format(audio: bytes) -> None:
    report = listened(audio)
    assert (report.inferred, report.as_expected) == ("silence", None)


def test_silence_at_twice_the_cadence_is_still_a_wrong_rate() -> None:
    report = listened(bytes(64000), frame_bytes=640)
    assert (report.inferred, report.as_expected) == ("silence, not at the cadence of slin 8000 Hz", False)


def test_loud_white_noise_is_unknown() -> None:
    report = listened(noise(5000))
    assert (report.inferred, report.as_expected) == ("unknown", None)
    assert "none stands out" in report.reasoning


def test_a_quiet_hiss_is_still_recognised_as_slin() -> None:
    assert listened(noise(100)).inferred == "slin 8000 Hz"


def test_missing_frames_make_the_rate_unknown_but_not_the_encoding() -> None:
    report = listened(voice(), interval=0.04)
    assert report.inferred == "looks like slin at an unknown rate read as slin 8000 Hz"
    assert "8000 bytes/s are 4000 samples/s of slin, which has no such rate" in report.reasoning


def test_frames_in_one_burst_have_no_rate() -> None:
    report = listened(voice(), interval=0)
    assert (report.frames_per_second, report.bytes_per_second) == (None, None)
    assert (report.inferred, report.as_expected) == ("slin at an unknown rate", None)


def test_the_report_comes_once_and_only_when_enough_frames_are_in() -> None:
    diagnostics = InboundDiagnostics(SLIN8, frames=3)
    for number in range(3):
        assert diagnostics.report() is None
        diagnostics.feed(bytes(320), number * 0.02)
    report = diagnostics.report()
    assert report is not None
    assert report.frames == 3
    diagnostics.feed(bytes(320), 1)
    assert diagnostics.report() is None
    assert diagnostics.conclude() is None


def test_a_call_that_ends_early_is_reported_on_the_frames_it_had() -> None:
    diagnostics = InboundDiagnostics(SLIN8)
    assert diagnostics.conclude() is None
    diagnostics.feed(voice()[:320], 5.0)
    report = diagnostics.conclude()
    assert report is not None
    assert report.frames == 1


def test_frames_beyond_the_wanted_number_are_not_measured() -> None:
    diagnostics = InboundDiagnostics(SLIN8, frames=2)
    for number in range(9):
        diagnostics.feed(bytes(320), number * 0.02)
    report = diagnostics.report()
    assert report is not None
    assert report.frames == 2


def test_the_log_fields_are_flat_and_fit_json() -> None:
    for report in (listened(voice()), listened(bytes(16000), interval=0)):
        fields = report.as_log_fields()
        assert json.loads(json.dumps(fields, allow_nan=False)) == fields
        assert fields["inbound_expected"] == "slin"
        assert fields["inbound_frame_sizes"] == "320,320,320,320,320"
        assert fields["inbound_inferred"] == report.inferred


@given(
    payloads=st.lists(st.binary(max_size=400), min_size=1, max_size=20),
    name=st.sampled_from(FORMAT_NAMES),
    interval=st.sampled_from([0.0, 0.001, 0.02, 5.0]),
)
def test_no_bytes_at_any_pace_are_too_strange_for_a_report(payloads: list[bytes], name: str, interval: float) -> None:
    diagnostics = InboundDiagnostics(AudioFormat.parse(name))
    for number, payload in enumerate(payloads):
        diagnostics.feed(payload, number * interval)
    report = diagnostics.conclude()
    assert report is not None
    json.dumps(report.as_log_fields(), allow_nan=False)
