"""A measurement of what the line really sends: once a call, from the first frames of the caller's audio.

AudioSocket calls everything slin: u-law that a misconfigured channel sends travels under the same kind byte
(Asterisk, res/res_audiosocket.c). The bytes themselves tell. Speech changes slowly from sample to sample, so
a few past samples foretell a good part of the next one; bytes that are decoded the wrong way are noise, of
which nothing can be foretold. And the bytes that come in a second tell the rate.
"""

import attrs
import numpy as np
import numpy.typing as npt

from agentd.audio import g711
from agentd.audio.formats import FORMAT_NAMES, AudioFormat, Encoding
from agentd.audio.level import FLOOR_DBFS, peak_dbfs, rms_dbfs

FRAMES = 50
"""Frames of 20 ms that a report is made of: one second."""

_SIZES_SHOWN = 5
_SILENCE_DBFS = -60.0
# 16-bit samples put together from companded bytes are near full scale; only true ones are ever this quiet.
_QUIET_DBFS = -35.0
# On recorded speech, a second at a time, the right decoding foretold 2.5 dB at the least, and in 79 of 80
# seconds at least 1.2 dB more than the next best.
_LEAST_FORETOLD_DB = 2.0
_LEAST_LEAD_DB = 1.0
# The odd second in 80 was undone by bytes at a cadence that their seeming encoding never has. It only weighs
# in and excludes nothing: with frames missing, the right encoding is off its cadence too.
_CADENCE_WORTH_DB = 4.0
_ORDER = 4
_RATE_TOLERANCE = 0.08
_ANALYSED_BYTES = 32768

_SWAPPED = "byte-swapped slin"
_LABEL = {Encoding.SLIN: "slin", Encoding.ULAW: "u-law", Encoding.ALAW: "A-law"}
_IDLE_BYTES = {
    _LABEL[Encoding.SLIN]: {0x00},
    _LABEL[Encoding.ULAW]: {0xFF, 0x7F},
    _LABEL[Encoding.ALAW]: {0xD5, 0x55},
}
_LABELS = (*_LABEL.values(), _SWAPPED)
_RATES = {
    label: [f.rate for f in map(AudioFormat.parse, FORMAT_NAMES) if f.encoding is encoding]
    for encoding, label in (*_LABEL.items(), (Encoding.SLIN, _SWAPPED))
}


@attrs.frozen
class InboundReport:
    """The first frames of a call, measured. Rates are None when the frames came at one moment."""

    expected: AudioFormat
    frames: int
    """How many were measured."""
    frame_sizes: tuple[int, ...]
    """Payload bytes of the first few."""
    frames_per_second: float | None
    bytes_per_second: float | None
    rms_dbfs: float
    """Level if the audio is what was expected."""
    peak_dbfs: float
    inferred: str
    """As in `slin 8000 Hz`, `looks like u-law 8000 Hz read as slin 8000 Hz`, `silence` or `unknown`."""
    as_expected: bool | None
    """None where nothing speaks against it, but nothing for it either: silence, noise."""
    reasoning: str
    """The measurements that `inferred` follows from, for a person."""

    def as_log_fields(self) -> dict[str, object]:
        """The report as flat fields of one log line; no caller data in it."""
        return {
            "inbound_expected": str(self.expected),
            "inbound_inferred": self.inferred,
            "inbound_as_expected": self.as_expected,
            "inbound_reasoning": self.reasoning,
            "inbound_frames": self.frames,
            "inbound_frame_sizes": ",".join(map(str, self.frame_sizes)),
            "inbound_frames_per_second": _rounded(self.frames_per_second),
            "inbound_bytes_per_second": _rounded(self.bytes_per_second),
            "inbound_rms_dbfs": round(self.rms_dbfs, 1),
            "inbound_peak_dbfs": round(self.peak_dbfs, 1),
        }


class InboundDiagnostics:
    """Looks at the first frames of a call and gives one `InboundReport`; later frames cost nothing.

    Args:
        expected: what the leg was asked to send.
        frames: how many frames to look at.
    """

    def __init__(self, expected: AudioFormat, frames: int = FRAMES) -> None:
        self._expected = expected
        self._wanted = frames
        self._payloads: list[bytes] = []
        self._first_at = self._last_at = 0.0
        self._reported = False

    def feed(self, payload: bytes, at: float) -> None:
        """Take one frame's payload, and when it came: seconds on any clock that does not go back."""
        if self._reported or len(self._payloads) >= self._wanted:
            return
        if not self._payloads:
            self._first_at = at
        self._last_at = at
        self._payloads.append(payload)

    def report(self) -> InboundReport | None:
        """The report, once, when enough frames have come; None before and after."""
        return self.conclude() if len(self._payloads) >= self._wanted else None

    def conclude(self) -> InboundReport | None:
        """The report on the frames there are, for a call that ended early; once. None if there are none."""
        if self._reported or not self._payloads:
            return None
        self._reported = True
        payloads, self._payloads = self._payloads, []
        return _measure(self._expected, payloads, self._last_at - self._first_at)


def _measure(expected: AudioFormat, payloads: list[bytes], seconds: float) -> InboundReport:
    audio = b"".join(payloads)
    # The frames of the first moment had been gathered before it: only the later ones belong to the time.
    bytes_per_second = len(audio[len(payloads[0]) :]) / seconds if seconds > 0 else None
    decoded = _decode(_LABEL[expected.encoding], audio)
    level = rms_dbfs(decoded)
    found, encoding_reason = _encoding(expected, audio, level, bytes_per_second)
    rate, rate_reason = _rate(expected, found or _LABEL[expected.encoding], bytes_per_second)
    inferred, as_expected = _verdict(expected, found, rate, level, bytes_per_second)
    return InboundReport(
        expected=expected,
        frames=len(payloads),
        frame_sizes=tuple(map(len, payloads[:_SIZES_SHOWN])),
        frames_per_second=(len(payloads) - 1) / seconds if seconds > 0 else None,
        bytes_per_second=bytes_per_second,
        rms_dbfs=level,
        peak_dbfs=peak_dbfs(decoded),
        inferred=inferred,
        as_expected=as_expected,
        reasoning=f"{encoding_reason}; {rate_reason}",
    )


def _verdict(
    expected: AudioFormat, found: str | None, rate: int | None, level: float, bytes_per_second: float | None
) -> tuple[str, bool | None]:
    """`inferred` and `as_expected` of the report."""
    wanted = f"{_LABEL[expected.encoding]} {expected.rate} Hz"
    if found is None:
        what = "silence" if level < _SILENCE_DBFS else "unknown"
        off = bytes_per_second is not None and rate != expected.rate
        return (f"{what}, not at the cadence of {wanted}", False) if off else (what, None)
    if rate is None:
        cadence_is_known = bytes_per_second is not None
        as_expected = False if cadence_is_known or found != _LABEL[expected.encoding] else None
        what = f"{found} at an unknown rate"
    else:
        what = f"{found} {rate} Hz"
        as_expected = what == wanted
    return (f"looks like {what} read as {wanted}" if as_expected is False else what), as_expected


def _encoding(
    expected: AudioFormat, audio: bytes, level: float, bytes_per_second: float | None
) -> tuple[str | None, str]:
    """The label of the encoding that the bytes are in, or None, and why."""
    present = set(audio)
    for label, idle in _IDLE_BYTES.items():
        if present and present <= idle:
            listed = " or ".join(f"{value:02X}" for value in sorted(present))
            reason = f"all bytes are {listed}, the silence of {label}"
            return (None if label == _LABEL[expected.encoding] else label), reason
    if level < _SILENCE_DBFS:
        return None, f"{level:.0f} dBFS is silence"
    readings = {label: _decode(label, audio[-_ANALYSED_BYTES:]) for label in _LABELS}
    for label in (_LABEL[Encoding.SLIN], _SWAPPED):
        if FLOOR_DBFS < rms_dbfs(readings[label]) < _QUIET_DBFS:
            return label, f"read as {label} it is quiet, which other bytes never are"
    foretold = {label: _foretold_db(reading) for label, reading in readings.items()}
    measured = ", ".join(f"{label} {decibels:.1f}" for label, decibels in foretold.items())
    reason = f"dB foretold from the last {_ORDER} samples when read as: {measured}"
    worth = {
        label: decibels + (_CADENCE_WORTH_DB if _rates_near(label, bytes_per_second) else 0)
        for label, decibels in foretold.items()
    }
    second, best = sorted(worth, key=lambda label: worth[label])[-2:]
    if foretold[best] < _LEAST_FORETOLD_DB or worth[best] - worth[second] < _LEAST_LEAD_DB:
        return None, f"{reason}; none stands out"
    return best, reason


def _rate(expected: AudioFormat, label: str, bytes_per_second: float | None) -> tuple[int | None, str]:
    """The rate in Hz that the cadence of the bytes speaks for in that encoding, or None, and why."""
    if bytes_per_second is None:
        return None, "no cadence: all frames came at one moment"
    measured = bytes_per_second / _sample_bytes(label)
    reason = f"{bytes_per_second:.0f} bytes/s are {measured:.0f} samples/s of {label}"
    near = _rates_near(label, bytes_per_second)
    if not near:
        return None, f"{reason}, which has no such rate"
    if expected.rate in near:
        return expected.rate, reason
    return min(near, key=lambda rate: abs(measured - rate)), reason


def _rates_near(label: str, bytes_per_second: float | None) -> list[int]:
    if bytes_per_second is None:
        return []
    measured = bytes_per_second / _sample_bytes(label)
    return [rate for rate in _RATES[label] if abs(measured / rate - 1) <= _RATE_TOLERANCE]


def _sample_bytes(label: str) -> int:
    return 1 if label in (_LABEL[Encoding.ULAW], _LABEL[Encoding.ALAW]) else 2


def _decode(label: str, audio: bytes) -> bytes:
    """Whole samples of slin, read from bytes that are taken for the encoding of that label."""
    if label == _LABEL[Encoding.ULAW]:
        return g711.ulaw_to_slin(audio)
    if label == _LABEL[Encoding.ALAW]:
        return g711.alaw_to_slin(audio)
    whole = audio[: len(audio) & ~1]
    return np.frombuffer(whole, ">i2").astype("<i2").tobytes() if label == _SWAPPED else whole


def _foretold_db(slin: bytes) -> float:
    """Prediction gain of a linear predictor: 0 for white noise, 3 and more for speech.

    The autocorrelation method (Rabiner and Schafer, Digital Processing of Speech Signals, 8.1).
    """
    samples: npt.NDArray[np.float64] = np.frombuffer(slin, "<i2").astype(np.float64)
    if len(samples) <= _ORDER:
        return 0.0
    samples -= samples.mean()
    # By einsum, which stays in this thread: a dot product of so many goes to threads of BLAS, and on a busy host all
    # calls wait until each of them has had a core.
    lags = np.array([np.einsum("i,i", samples[: len(samples) - lag], samples[lag:]) for lag in range(_ORDER + 1)])
    if lags[0] == 0:
        return 0.0
    # A little white noise keeps the equations solvable for a pure tone, of which everything can be foretold.
    lags[0] *= 1 + 1e-6
    matrix = lags[np.abs(np.subtract.outer(np.arange(_ORDER), np.arange(_ORDER)))]
    error = lags[0] - lags[1:] @ np.linalg.solve(matrix, lags[1:])
    return float(10 * np.log10(lags[0] / error))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
