"""Fits a network of agentd_providers.local.first_sounds: its gradient, written out, and Adam. Numpy only."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from agentd_providers.local.first_sounds import (
    BANDS,
    FRAMES,
    LAYERS,
    STEP,
    WIDTH,
    FirstSounds,
    Floats,
    Network,
    windows,
)

FIRST, SECOND, HIDDEN, KINDS = 32, 32, 32, 3
_ONCE = (FRAMES - WIDTH) // STEP + 1
_TWICE = (_ONCE - WIDTH) // STEP + 1
SHAPES: Mapping[str, tuple[int, int]] = {
    "first": (WIDTH * (BANDS + 1), FIRST),
    "second": (WIDTH * FIRST, SECOND),
    "third": (_TWICE * SECOND, HIDDEN),
    "last": (HIDDEN, KINDS),
}
SPEEDS = (0.9, 0.999)
"""Of Adam (D. Kingma and J. Ba, 2015): how slowly the mean of the gradient and of its square follow."""
MEAN_SPEED = 0.998
"""How slowly the mean of the weights follows them, which is what is kept (B. Polyak and A. Juditsky, 1992)."""
SHIFT, WARP = 2, 1.2
"""By how many frames, and by how many bands, an example is moved at most."""
MASKED = 3
"""Bands that are missing."""


@attrs.frozen(eq=False)
class Examples:
    """What the network is given, (count, 64, 25), which kind it is, and how much it counts."""

    given: Floats
    kind: npt.NDArray[np.int64]
    weight: Floats


def begun(chance: np.random.Generator) -> Network:
    """A network that knows nothing."""
    return Network(
        {
            name: (
                (chance.normal(0, 1, shape) * np.sqrt(2 / shape[0])).astype(np.float32),
                np.zeros(shape[1], np.float32),
            )
            for name, shape in SHAPES.items()
        }
    )


def loss(network: Network | FirstSounds, examples: Examples) -> float:
    """The weighed mean of -log p of the right kind."""
    probabilities = network.judge(examples.given)[np.arange(len(examples.kind)), examples.kind]
    return float(-(examples.weight * np.log(probabilities + 1e-7)).sum() / examples.weight.sum())


def gradient(
    network: Network, examples: Examples, kept: npt.NDArray[np.bool_] | None = None
) -> dict[str, tuple[Floats, Floats]]:
    """Of the sum of `loss` over the examples, by layer. `kept` are the hidden values that take part, scaled up."""
    layers = network.layers
    first_in = windows(examples.given)
    first = np.maximum(first_in @ layers["first"][0] + layers["first"][1], 0.0)
    second_in = windows(first)
    second = np.maximum(second_in @ layers["second"][0] + layers["second"][1], 0.0)
    flat = second.reshape(len(second), -1)
    hidden = np.maximum(flat @ layers["third"][0] + layers["third"][1], 0.0)
    if kept is not None:
        hidden = hidden * kept / max(float(kept.mean()), 1e-3)
    scores = hidden @ layers["last"][0] + layers["last"][1]
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    wrong = odds / odds.sum(axis=1, keepdims=True)
    wrong[np.arange(len(wrong)), examples.kind] -= 1.0
    wrong *= (examples.weight / examples.weight.sum())[:, np.newaxis]

    of_hidden = (wrong @ layers["last"][0].T) * (hidden > 0)
    of_second = (of_hidden @ layers["third"][0].T).reshape(second.shape) * (second > 0)
    of_windows = of_second @ layers["second"][0].T
    of_first = np.zeros_like(first)
    for at in range(WIDTH):
        piece = of_windows[..., at * FIRST : (at + 1) * FIRST]
        of_first[:, at : at + STEP * piece.shape[1] - 1 : STEP] += piece
    of_first *= first > 0
    return {
        "first": _of_layer(first_in, of_first),
        "second": _of_layer(second_in, of_second),
        "third": _of_layer(flat, of_hidden),
        "last": _of_layer(hidden, wrong),
    }


def _of_layer(given: Floats, above: Floats) -> tuple[Floats, Floats]:
    rows, columns = given.reshape(-1, given.shape[-1]), above.reshape(-1, above.shape[-1])
    return rows.T @ columns, columns.sum(axis=0)


def fitted(
    examples: Examples,
    chance: np.random.Generator,
    *,
    rounds: int,
    rate: float = 2e-3,
    decay: float = 0.01,
    dropped: float = 0.2,
    after_round: Callable[[int, Network], None] = lambda _number, _network: None,
) -> Network:
    """Fit a network in so many rounds over all examples; `after_round` sees what there is by then."""
    network = kept_mean = begun(chance)
    means = {name: [np.zeros_like(one) for one in network.layers[name]] for name in LAYERS}
    squares = {name: [np.zeros_like(one) for one in network.layers[name]] for name in LAYERS}
    steps, size = 0, 256
    for number in range(rounds):
        order = chance.permutation(len(examples.kind))
        speed = rate * 0.5 * (1 + np.cos(np.pi * number / rounds))
        for start in range(0, len(order) - size + 1, size):
            some = order[start : start + size]
            given = varied(np.asarray(examples.given[some], np.float32), chance)
            batch = Examples(given, examples.kind[some], examples.weight[some])
            kept = chance.random((size, HIDDEN)) >= dropped
            steps += 1
            slopes = gradient(network, batch, kept)
            layers = {}
            for name in LAYERS:
                moved = []
                for at, value in enumerate(network.layers[name]):
                    slope = slopes[name][at]
                    means[name][at] = SPEEDS[0] * means[name][at] + (1 - SPEEDS[0]) * slope
                    squares[name][at] = SPEEDS[1] * squares[name][at] + (1 - SPEEDS[1]) * slope**2
                    mean = means[name][at] / (1 - SPEEDS[0] ** steps)
                    square = squares[name][at] / (1 - SPEEDS[1] ** steps)
                    step = mean / (np.sqrt(square) + 1e-8) + (decay * value if at == 0 else 0.0)
                    moved.append((value - speed * step).astype(np.float32))
                layers[name] = (moved[0], moved[1])
            network = Network(layers)
            kept_mean = _nearer(kept_mean, network, 1 - min(MEAN_SPEED, (1 + steps) / (10 + steps)))
        after_round(number, kept_mean)
    return kept_mean


def _nearer(mean: Network, network: Network, share: float) -> Network:
    pairs = {name: zip(mean.layers[name], network.layers[name], strict=True) for name in LAYERS}
    moved = {name: [(one + share * (other - one)).astype(np.float32) for one, other in pairs[name]] for name in LAYERS}
    return Network({name: (weights, offsets) for name, (weights, offsets) in moved.items()})


def varied(given: Floats, chance: np.random.Generator) -> Floats:
    """Each example as another speaker and another line would have it: a little earlier or later, its bands higher or
    lower, louder here and fainter there, over noise, and a few of them missing."""
    made = _moved(given, chance)
    there, count = made[..., BANDS:], len(made)
    bands: npt.NDArray[Any] = _warped(made[..., :BANDS], chance)
    waves = [np.cos(number * np.linspace(0, np.pi, BANDS)) for number in range(4)]
    sizes = (0.05, 0.12, 0.08, 0.05)
    louder = sum(chance.normal(0, size, (count, 1, 1)) * wave for size, wave in zip(sizes, waves, strict=True))
    bands = bands + louder * there
    noisy = chance.random((count, 1, 1)) < 0.35
    noise = chance.uniform(-1, -0.3, (count, 1, 1)) + chance.normal(0, 0.1, (count, 1, 1)) * waves[1]
    noise = np.where(noisy, noise + chance.normal(0, 0.05, bands.shape), -1.0)
    bands = np.where(there > 0, np.maximum(bands, noise), bands)
    beyond = np.arange(BANDS) - chance.integers(0, BANDS - MASKED, (count, 1))
    missing = (beyond >= 0) & (beyond < MASKED) & (chance.random((count, 1)) < 0.4)
    bands = np.where(missing[:, np.newaxis], -1.0, bands)
    return np.asarray(np.concatenate((np.clip(bands, -1.0, 1.0), there), axis=-1), np.float32)


def _moved(given: Floats, chance: np.random.Generator) -> Floats:
    """By up to SHIFT frames; what is still to come stays so."""
    count = len(given)
    at = np.arange(FRAMES) - chance.integers(-SHIFT, SHIFT + 1, (count, 1))
    made: Floats = given[np.arange(count)[:, np.newaxis], np.clip(at, 0, FRAMES - 1)]
    made[at >= FRAMES] = np.append(np.full(BANDS, -1.0), 0.0)
    return made


def _warped(bands: Floats, chance: np.random.Generator) -> Floats:
    """By up to WARP bands, three of five examples."""
    count = len(bands)
    by = chance.uniform(-WARP, WARP, (count, 1)) * (chance.random((count, 1)) < 0.6)
    at = np.clip(np.arange(BANDS) + by, 0, BANDS - 1)
    low = np.floor(at).astype(np.int64)
    share = (at - low)[:, np.newaxis]
    below, above = (
        np.take_along_axis(bands, np.broadcast_to(which[:, np.newaxis], bands.shape), axis=2)
        for which in (low, np.minimum(low + 1, BANDS - 1))
    )
    return np.asarray(below * (1 - share) + above * share, np.float32)
