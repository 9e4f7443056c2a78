"""Telling the agent's own words, as they come back over the line, from a caller who speaks.

The guard compares the caller's audio with what was written to the caller: the normalised cross-correlation at every
delay up to half a second. Its square is the share of the caller's energy that a delayed and attenuated copy of the
agent's voice explains: near 1 for an echo alone, a half where the caller speaks as loudly as the echo, little for
anything else. Where some is explained, but not enough, the echo's path is taken to be a few milliseconds of delays and
fitted (a hybrid, or a loudspeaker in a room). Both signals are differentiated first, so that the low harmonics that all
voices share do not decide.

A weak echo is not always explained: jitter and companding change it. Once a line has proven that it gives the agent
back much weaker than it spoke, what comes no louder than that is taken for the same.
"""

from collections import deque

import numpy as np
import numpy.typing as npt

from agentd.audio.formats import FRAME_MS
from agentd.audio.level import loudest_dbfs, rms_dbfs

WINDOW_MS = 200
"""How much of the caller's audio is judged."""
MEMORY_MS = 600
"""How long after the agent's last word an echo of it may come."""
LONGEST_DELAY_MS = 500
FLOOR_DBFS = -50.0
"""Quieter frames are no speech and no echo that could be taken for it."""
EXPLAINED = 0.7
"""Share of the caller's energy that must be explained: a correlation of 0.84."""
WORTH_FITTING = 0.1
"""Share that the best single delay must explain before a path is fitted around it."""
END_MS = 40
END_EXPLAINED = 0.5
"""The newest part must be explained by itself too, so that a caller who begins to speak over an echo is heard soon."""
TAPS = 32
"""Delays of a fitted path: 4 ms."""
TAPS_BEFORE = 8
"""How many of them are shorter than the best single delay."""
PROVEN_MS, PROVEN_WITHIN_MS = 200, 2000
"""So much echo within so long proves that the line has one."""
WEAK_DB = -12.0
"""How much weaker than the agent an echo must be for its level alone to tell: a caller is louder than that."""
MARGIN_DB = 6.0
_RATE = 8000
_SLACK_MS = 2 * FRAME_MS  # the two directions are not counted in step


class EchoGuard:
    """One call's comparison of what is written to the caller with what comes back.

    Both are slin at `rate` Hz, 8000 or a multiple of it; what is written comes in frames of 20 ms.
    Judging a frame costs about 0.2 ms where the agent has been speaking and the caller's frame is not quiet, and
    nothing otherwise.

    Raises:
        ValueError: a rate that is no multiple of 8000.
    """

    def __init__(self, rate: int) -> None:
        if rate % _RATE:
            raise ValueError(f"expected a multiple of {_RATE} Hz, got {rate}: frames are judged at {_RATE} Hz")
        self._step = rate // _RATE
        self._silence = bytes(rate * FRAME_MS // 1000 * 2)
        self._memory = rate * MEMORY_MS // 1000 * 2
        self._caller = bytearray(rate * WINDOW_MS // 1000 * 2)
        self._agent = bytearray(rate * (WINDOW_MS + LONGEST_DELAY_MS + _SLACK_MS) // 1000 * 2)
        self._forgotten_ms = WINDOW_MS + LONGEST_DELAY_MS + _SLACK_MS
        """Once the agent has been silent for so long, nothing but silence is remembered of it."""
        self._since_spoken = self._forgotten_ms
        """ms since the agent's last word, and no more than that."""
        self._proofs: deque[bool] = deque(maxlen=PROVEN_WITHIN_MS // FRAME_MS)
        self._return_db = 0.0
        """By how much what came back differed in level from the loudest that was spoken before."""

    def spoke(self, frame: bytes | None) -> None:
        """Take note of a frame that was written to the caller; None is silence."""
        if frame is None or frame == self._silence:
            if self._since_spoken < self._forgotten_ms:
                self._since_spoken += FRAME_MS
                _shift_in(self._agent, self._silence)
            return
        self._since_spoken = 0
        _shift_in(self._agent, frame)

    def is_echo(self, frame: bytes) -> bool:
        """Take what came next from the caller; true when the last 200 ms up to it are the agent's own words.

        Half a sample at its end is no audio.
        """
        frame = frame[: len(frame) & ~1]
        _shift_in(self._caller, frame)
        if self._since_spoken >= MEMORY_MS or (level := rms_dbfs(frame)) < FLOOR_DBFS:
            return False
        whole, end = _explained(self._samples(self._caller), self._samples(self._agent))
        explained = whole >= EXPLAINED and end >= END_EXPLAINED
        self._proofs.append(explained)
        loudest = loudest_dbfs(self._agent[-self._memory :], len(self._silence))
        if explained:
            self._return_db += 0.1 * (level - loudest - self._return_db)
            return True
        proven = sum(self._proofs) * FRAME_MS >= PROVEN_MS and self._return_db < WEAK_DB
        return proven and level <= loudest + self._return_db + MARGIN_DB

    def _samples(self, pcm: bytearray) -> npt.NDArray[np.float64]:
        """slin at 8 kHz and differentiated."""
        samples = np.frombuffer(bytes(pcm), "<i2").astype(np.float64)
        return np.diff(samples.reshape(-1, self._step).mean(axis=1))


def _shift_in(memory: bytearray, frame: bytes) -> None:
    """Append a frame and forget as much."""
    kept = len(memory)
    memory += frame
    del memory[:-kept]


def _explained(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The share of the energy of `part`, and that of its end, that an echo of something within `whole` explains."""
    energy = float(part @ part)
    if not energy:
        return 0.0, 0.0
    size = _fft_size(whole.size)
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    products = np.fft.irfft(spectrum, size)[: whole.size - part.size + 1]
    sums = np.concatenate(([0.0], np.cumsum(whole * whole)))
    energies = sums[part.size :] - sums[: -part.size]
    # A stretch in which the agent hardly spoke explains nothing, and would be divided by rounding errors.
    shares = np.where(energies > sums[-1] * 1e-3, products**2 / np.maximum(energies, 1.0), 0.0) / energy
    best = int(np.argmax(shares))
    if shares[best] < WORTH_FITTING:
        return float(shares[best]), 0.0
    first = min(max(best - TAPS_BEFORE, 0), products.size - TAPS)
    near = whole[first : first + part.size + TAPS - 1]
    rest = part - np.convolve(near, _path(near, products[first : first + TAPS]), "valid")
    end = _RATE * END_MS // 1000
    return _share(rest, part), _share(rest[-end:], part[-end:])


def _path(near: npt.NDArray[np.float64], products: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The weights of `TAPS` delays within `near` that explain most, the longest delay's last, as a convolution's.

    Least squares by the autocorrelation method (J. Makhoul, Linear Prediction: A Tutorial Review, 1975).
    """
    size = _fft_size(near.size + TAPS)
    powers = np.fft.rfft(near, size)
    autocorrelation = np.fft.irfft(powers * np.conj(powers), size)[:TAPS]
    autocorrelation[0] *= 1.001  # keeps the equations solvable where the agent's voice is a pure tone
    delays = np.arange(TAPS)
    return np.linalg.solve(autocorrelation[np.abs(delays[:, np.newaxis] - delays)], products)[::-1]


def _share(rest: npt.NDArray[np.float64], part: npt.NDArray[np.float64]) -> float:
    energy = float(part @ part)
    return 1.0 - float(rest @ rest) / energy if energy else 0.0


def _fft_size(least: int) -> int:
    """The next size that a fast Fourier transform is quick at: a power of two, or three quarters of one."""
    power = 1 << (least - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= least else power
