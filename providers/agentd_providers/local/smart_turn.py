"""Whether a caller who paused has finished, by melody and words: Smart Turn v3. Runs in an engine's worker process.

The network is Whisper tiny's encoder with a classifier on it, which was taught to be asked once, after 0.2 s. What it
says is weighed together with what its encoder has heard (agentd_providers.local.turn_head), which can be asked again.

It hears the last 8 s at 16 kHz; where there is less, silence comes before it. Its features are Whisper's (A. Radford et
al., 2022, and openai/whisper's audio.py): of the normalised waveform, log10 power in 80 mel bands (M. Slaney's Auditory
Toolbox, 1998), 25 ms windows every 10 ms, no more than 80 dB below the loudest.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentd.audio.resample import convert
from agentd.errors import ProviderUnavailable
from agentd.installation import how_to_add
from agentd_providers.local.onnx_graph import with_output
from agentd_providers.local.turn_head import complete

ENGINE_RATE = 16000
SECONDS = 8
SAMPLES = SECONDS * ENGINE_RATE
WINDOW, HOP, BANDS = 400, 160, 80
FRAMES = SAMPLES // HOP
POOLED = "sum_1"
"""The network's name for what its encoder comes to: the frames' sum, weighed by attention."""

Floats = npt.NDArray[np.float32]

_networks: dict[str, Any] = {}


def load(model: str) -> None:
    """Load the model in this process, and run it once so that the first caller does not wait for it."""
    judge(model, bytes(2 * ENGINE_RATE), ENGINE_RATE)


def judge(model: str, pcm: bytes, rate: int, look: int = 0) -> float:
    """The probability that the turn is complete: slin at `rate` Hz, from its beginning to the silence of look number
    `look` (agentd_providers.turns.settings.LOOKS_MS) after its end.

    Raises ProviderUnavailable when the model cannot be loaded, ValueError for a rate that cannot be resampled.
    """
    return complete(*hear(model, pcm, rate), look)


def hear(model: str, pcm: bytes, rate: int) -> tuple[float, Floats]:
    """What the network says, which after more silence than 0.2 s calls nearly anything complete, and the 384 numbers
    that its encoder comes to. Raises as `judge` does."""
    network = _networks.get(model)
    if network is None:
        network = _networks[model] = _load(model)
    heard = np.frombuffer(convert(pcm[-SECONDS * rate * 2 :], rate, ENGINE_RATE), dtype="<i2")
    probability, pooled = network.run(None, {"input_features": features(heard)[np.newaxis]})
    return float(probability.reshape(-1)[0]), np.asarray(pooled.reshape(-1), np.float32)


def features(heard: npt.NDArray[np.int16]) -> Floats:
    """The network's input, made of the last 8 s of 16-bit samples at 16 kHz: shape (80, 800).

    The frames that lie wholly in the silence before are all alike, and worked out once.
    """
    heard = heard[-SAMPLES:]
    signal = heard.astype(np.float32) / np.float32(32768.0)
    # Mean and variance are those of the 8 s: with n of N samples present, sums over n divided by N.
    mean = np.float32(signal.sum(dtype=np.float64) / SAMPLES)
    variance = np.square(signal, dtype=np.float64).sum() / SAMPLES - float(mean) ** 2
    scale = np.float32(1.0 / np.sqrt(max(variance, 0.0) + 1e-7))
    # One frame of silence more than the audio touches stands for all those before it.
    frames = min(FRAMES, len(signal) // HOP + 4)
    window = np.zeros(min(SAMPLES, frames * HOP), dtype=np.float32)
    window[len(window) - len(signal) :] = signal
    window -= mean
    window *= scale
    padded = np.pad(window, WINDOW // 2, mode="reflect")
    steps = (padded.strides[0] * HOP, padded.strides[0])
    cut = np.lib.stride_tricks.as_strided(padded, (frames, WINDOW), steps, writeable=False)
    spectrum = np.fft.rfft(cut * _HANN, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bands = np.log10(np.maximum(_MEL @ power.T, np.float32(1e-10)))
    bands = (np.maximum(bands, bands.max() - np.float32(8.0)) + np.float32(4.0)) / np.float32(4.0)
    whole = np.empty((BANDS, FRAMES), dtype=np.float32)
    whole[:, FRAMES - frames :] = bands
    whole[:, : FRAMES - frames] = bands[:, :1]
    return whole


def _load(model: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderUnavailable(f"Smart Turn is not installed: {error}; {how_to_add('pipeline')}") from error
    if not Path(model).is_file():
        raise ProviderUnavailable(f"there is no Smart Turn model at {model}; agentd models fetch smart-turn-v3.2")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    network = with_output(Path(model).read_bytes(), POOLED)
    return onnxruntime.InferenceSession(network, sess_options=options, providers=["CPUExecutionProvider"])


def _mel_filters() -> Floats:
    """Triangles of equal area whose corners are evenly spaced in mel: linear to 1 kHz, then 27 steps for x 6.4."""
    linear, per_step = 200 / 3, np.log(6.4) / 27
    highest = 1000 / linear + np.log(ENGINE_RATE / 2 / 1000) / per_step
    mels = np.linspace(0.0, highest, BANDS + 2)
    above = np.maximum(mels - 1000 / linear, 0.0)
    corners = np.where(above > 0, 1000 * np.exp(per_step * above), mels * linear)
    low, centre, high = corners[:-2, np.newaxis], corners[1:-1, np.newaxis], corners[2:, np.newaxis]
    hertz = np.fft.rfftfreq(WINDOW, 1 / ENGINE_RATE)[np.newaxis]
    triangles = np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre))
    return np.asarray(np.maximum(triangles, 0.0) * 2 / (high - low), dtype=np.float32)


_MEL = _mel_filters()
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
