"""Band-limited sampling-rate conversion for a live line: a short polyphase FIR filter.

The prototype is a Kaiser-windowed sinc (J. F. Kaiser, 1974; Oppenheim and Schafer, Discrete-Time Signal
Processing, 7.5) that stops everything from half the lower of the two rates on, so that downsampling leaves
no alias and upsampling no image above about -60 dB. It passes up to 85 % of that: 3.4 kHz where either side
runs at 8 kHz, the upper edge of the telephone band. Its delay is then 3.3 ms, and less at higher rates.
"""

import functools
import math
from fractions import Fraction

import attrs
import numpy as np
import numpy.typing as npt

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000)
"""The rates in Hz that `Resampler` converts between."""

_STOP_DB = 65.0
_PASS_OF_NYQUIST = 0.85
# Coefficients are whole multiples of this. With 16-bit samples every product and every sum then fits a
# float64 exactly, and so the output cannot depend on the order of summation, that is, on the chunking.
_COEFFICIENT_STEP = 2.0**-24
# Outputs that are worked out at once: few enough that a long chunk is not pushed through main memory.
_BLOCK = 160


@attrs.frozen(eq=False)
class _PhaseBank:
    """The prototype filter cut into one row of taps for each position that an output can have between inputs.

    Positions are counted in 1/`up` of an input sample; one output is `down` of them after the other.
    """

    up: int
    down: int
    half: int
    """Input samples that a tap row reaches ahead of its output."""
    taps: npt.NDArray[np.float64]
    """Shape (up, 2 * half)."""


@functools.lru_cache(maxsize=32)
def _phase_bank(source_hz: int, target_hz: int) -> _PhaseBank:
    divisor = math.gcd(source_hz, target_hz)
    up, down = target_hz // divisor, source_hz // divisor
    nyquist = min(source_hz, target_hz) / 2
    transition = (1 - _PASS_OF_NYQUIST) * nyquist / source_hz
    half = math.ceil((_STOP_DB - 7.95) / (2 * 14.36 * transition))
    beta = 0.1102 * (_STOP_DB - 8.7)
    cutoff = (1 + _PASS_OF_NYQUIST) / 2 * nyquist / source_hz

    ahead = np.arange(1 - half, half + 1)[np.newaxis, :] - np.arange(up)[:, np.newaxis] / up
    window = np.i0(beta * np.sqrt(np.maximum(0.0, 1 - (ahead / half) ** 2))) * (np.abs(ahead) < half)
    ideal = np.sinc(2 * cutoff * ahead) * window
    taps = np.rint(ideal / ideal.sum(axis=1, keepdims=True) / _COEFFICIENT_STEP)
    # Rows that sum to exactly one keep a constant constant: no hum at the rate at which the phases repeat.
    rows = np.arange(up)
    taps[rows, taps.argmax(axis=1)] += 1 / _COEFFICIENT_STEP - taps.sum(axis=1)
    taps *= _COEFFICIENT_STEP
    taps.flags.writeable = False
    return _PhaseBank(up, down, half, taps)


class Resampler:
    """Converts a stream of slin from one rate to another, chunk by chunk.

    The output does not depend on where the input was cut, not even inside a sample. Sample `n` of the output
    stands for the same moment as second `n / target_hz` of the input: the delay is only a waiting, nothing is
    shifted. Too loud samples saturate. Between equal rates the audio passes through untouched.

    Args:
        source_hz: rate of what is fed.
        target_hz: rate of what comes out.

    Raises:
        ValueError: a rate that is not in `RATES`.
    """

    _odd_byte: bytes
    _samples_in: int
    _samples_out: int
    _window: npt.NDArray[np.float64]
    _position: int
    """Of the next output, in 1/`up` of an input sample; at 0 its taps would begin where `_window` does."""

    def __init__(self, source_hz: int, target_hz: int) -> None:
        for rate in (source_hz, target_hz):
            if rate not in RATES:
                raise ValueError(f"cannot resample {source_hz} to {target_hz} Hz: {rate} is not one of {RATES}")
        self.source_hz = source_hz
        self.target_hz = target_hz
        self._bank = None if source_hz == target_hz else _phase_bank(source_hz, target_hz)
        self.clear()

    @property
    def delay_ms(self) -> float:
        """How many ms of input beyond an output sample's own moment must have come before it comes out."""
        return 0.0 if self._bank is None else 1000 * self._bank.half / self.source_hz

    def feed(self, pcm: bytes) -> bytes:
        """Take slin at the source rate, of any length, and give all slin at the target rate that is ready.

        An odd byte at the end waits for its other half.
        """
        pcm = self._odd_byte + pcm
        whole = len(pcm) & ~1
        self._odd_byte = pcm[whole:]
        if self._bank is None:
            return pcm[:whole]
        self._samples_in += whole // 2
        return self._filter(self._bank, np.frombuffer(pcm, "<i2", whole // 2).astype(np.float64))

    def flush(self) -> bytes:
        """Give the rest of the utterance and be ready for the next.

        With it the whole output has `round(samples_in * target_hz / source_hz)` samples. Half a sample at
        the very end of the input is no audio and is dropped.
        """
        rest = b""
        if self._bank is not None:
            missing = round(Fraction(self._samples_in * self._bank.up, self._bank.down)) - self._samples_out
            rest = self._filter(self._bank, np.zeros(self._bank.half))[: 2 * missing]
        self.clear()
        return rest

    def clear(self) -> None:
        """Forget the utterance, which was broken off, and be ready for the next."""
        self._odd_byte = b""
        self._samples_in = self._samples_out = 0
        # Before the utterance there was silence, so that the first output is centred on the first input.
        self._window = np.zeros(0 if self._bank is None else self._bank.half - 1)
        self._position = 0

    def _filter(self, bank: _PhaseBank, samples: npt.NDArray[np.float64]) -> bytes:
        window = np.concatenate((self._window, samples))
        width = 2 * bank.half
        ready = -((self._position - (len(window) - width + 1) * bank.up) // bank.down)
        if ready <= 0:
            self._window = window
            return b""
        if bank.down == 1:  # every position has its output: each phase is a filter of its own, which is quicker
            phases = [np.correlate(window, taps, "valid") for taps in bank.taps]
            out: npt.NDArray[np.float64] = np.stack(phases, axis=1).ravel()[self._position : self._position + ready]
        else:
            out = _picked(bank, window, self._position, ready)
        consumed, self._position = divmod(self._position + bank.down * ready, bank.up)
        self._window = window[consumed:].copy()
        self._samples_out += ready
        return np.clip(np.rint(out), -32768, 32767).astype("<i2").tobytes()


def _picked(bank: _PhaseBank, window: npt.NDArray[np.float64], position: int, ready: int) -> npt.NDArray[np.float64]:
    """`ready` outputs from a position on, of which some are left out between two of them."""
    width = 2 * bank.half
    # All runs of `width` samples as rows, without a copy; sliding_window_view costs ten times as much.
    runs = np.ndarray((len(window) - width + 1, width), window.dtype, window.data, 0, window.strides * 2)
    out = np.empty(ready)
    for start in range(0, ready, _BLOCK):
        stop = min(start + _BLOCK, ready)
        first, phase = np.divmod(position + bank.down * np.arange(start, stop), bank.up)
        out[start:stop] = np.vecdot(runs[first], bank.taps[phase])
    return out


def convert(pcm: bytes, source_hz: int, target_hz: int) -> bytes:
    """A whole utterance of slin at another rate: `round(samples * target_hz / source_hz)` samples.

    Raises:
        ValueError: a rate that is not in `RATES`.
    """
    resampler = Resampler(source_hz, target_hz)
    return resampler.feed(pcm) + resampler.flush()
