"""What the beginning of a caller's sound is: noise, a backchannel, or a turn. A few small networks, in numpy.

Each was fitted from another beginning, and their judgements are averaged: what one of them has learned by heart of the
few voices that there were, the others have not. A network hears 0.16 s from before the sound was heard to begin and
0.48 s of it, as far as they have come: log power in mel bands against the loudest of them, and which of the frames
there are yet. Two convolutions and two layers follow.

`first_sounds.npz` holds the weights, whole numbers of 8 bits with a factor for each output. They are fitted by

    .venv/bin/python -m tests.lab.fit_first_sounds

to the voices and noises of `tests.lab.first_sounds`, of which the part that judges them is kept apart.
"""

from collections.abc import Mapping
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from agentd_providers.turns.first_sound import Kinds

WEIGHTS = Path(__file__).with_name("first_sounds.npz")
LAYERS = ("first", "second", "third", "last")
BANDS, LOWEST_HZ, HIGHEST_HZ = 24, 100.0, 3700.0
BEFORE, FRAMES = 16, 64
"""Frames of 10 ms before the sound was heard to begin, and in all."""
WIDTH, STEP = 5, 2
"""Of both convolutions, in what they are given."""
RANGE = 6.0
"""Powers of ten: what is weaker than the loudest by more is silence."""

Floats = npt.NDArray[np.float32]


def features(pcm: bytes, rate: int, begun: int) -> Floats:
    """The network's input, of slin at 8 or 16 kHz in which a sound was heard to begin at byte `begun`: shape (64, 25).

    The last column is 1 where there is a frame.
    """
    hop, window = rate // 100, rate // 40
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    missing = BEFORE * hop - begun // 2
    samples = np.concatenate((np.zeros(missing, np.float32), samples)) if missing > 0 else samples[-missing:]
    count = min(max(0, (len(samples) - window) // hop + 1), FRAMES)
    whole = np.zeros((FRAMES, BANDS + 1), dtype=np.float32)
    whole[:, :BANDS] = -1.0
    if not count:
        return whole
    steps = (samples.strides[0] * hop, samples.strides[0])
    cut = np.lib.stride_tricks.as_strided(samples, (count, window), steps, writeable=False)
    spectrum = np.fft.rfft(cut * np.hanning(window).astype(np.float32), axis=1)[:, : _MEL.shape[1]]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bands = np.log10(np.maximum(power @ _MEL.T, 1.0))
    whole[:count, :BANDS] = np.maximum((bands - bands.max()) * np.float32(2 / RANGE) + 1, -1.0)
    whole[:count, BANDS] = 1.0
    return whole


def windows(values: Floats) -> Floats:
    """What a convolution sees, of (..., time, channels): (..., time', WIDTH * channels)."""
    count = (values.shape[-2] - WIDTH) // STEP + 1
    return np.concatenate([values[..., at : at + STEP * count - 1 : STEP, :] for at in range(WIDTH)], axis=-1)


@attrs.frozen(eq=False)
class Network:
    """One of them: weights and offsets by layer."""

    layers: Mapping[str, tuple[Floats, Floats]]

    def judge(self, given: Floats) -> Floats:
        """Probabilities of the kinds, (count, 3), of inputs (count, 64, 25)."""
        for name in LAYERS[:2]:
            given = np.maximum(self._through(name, windows(given)), 0.0)
        given = np.maximum(self._through("third", given.reshape(len(given), -1)), 0.0)
        scores = self._through("last", given)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)

    def _through(self, layer: str, given: Floats) -> Floats:
        weights, offsets = self.layers[layer]
        return np.asarray(given @ weights + offsets, dtype=np.float32)


@attrs.frozen(eq=False)
class FirstSounds:
    """All of them. See agentd_providers.pipeline.stages.SoundJudge."""

    networks: tuple[Network, ...]

    def kinds(self, pcm: bytes, rate: int, begun: int) -> Kinds:
        """See agentd_providers.pipeline.stages.SoundJudge.kinds."""
        noise, backchannel, turn = self.judge(features(pcm, rate, begun)[np.newaxis])[0]
        return Kinds(float(noise), float(backchannel), float(turn))

    def judge(self, given: Floats) -> Floats:
        """See Network.judge."""
        return np.asarray(np.mean([network.judge(given) for network in self.networks], axis=0), dtype=np.float32)


def load(path: Path = WEIGHTS) -> FirstSounds:
    """Read the weights. Raises OSError, KeyError or ValueError where the file is not what `save` writes."""
    with np.load(path) as kept:
        networks = []
        for number in range(int(kept["networks"])):
            at = {name: f"{number}_{name}" for name in LAYERS}
            networks.append(
                Network(
                    {
                        name: (kept[f"{key}_weights"] * kept[f"{key}_factors"], kept[f"{key}_offsets"])
                        for name, key in at.items()
                    }
                )
            )
        return FirstSounds(tuple(networks))


def save(judge: FirstSounds, path: Path = WEIGHTS) -> None:
    """Write the weights, rounded."""
    written = {"networks": np.array(len(judge.networks))}
    for number, network in enumerate(judge.networks):
        for name, (weights, offsets) in network.layers.items():
            key = f"{number}_{name}"
            factors = (np.abs(weights).max(axis=0) / 127 + 1e-12).astype(np.float32)
            written[f"{key}_weights"] = np.rint(weights / factors).astype(np.int8)
            written[f"{key}_factors"], written[f"{key}_offsets"] = factors, offsets.astype(np.float32)
    np.savez_compressed(path, allow_pickle=False, **written)


def _mel_filters() -> Floats:
    """Triangles whose corners are evenly spaced in mel, over the bins of 25 ms, which are 40 Hz apart at any rate."""
    highest, lowest = (2595 * np.log10(1 + hertz / 700) for hertz in (HIGHEST_HZ, LOWEST_HZ))
    corners = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    low, centre, high = corners[:-2, np.newaxis], corners[1:-1, np.newaxis], corners[2:, np.newaxis]
    hertz = np.arange(0.0, 4001.0, 40.0)[np.newaxis]
    triangles = np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre))
    filters = np.maximum(triangles, 0.0)
    return np.asarray(filters / np.maximum(filters.sum(axis=1, keepdims=True), 1e-6), dtype=np.float32)


_MEL = _mel_filters()
