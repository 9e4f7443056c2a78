"""Fits a network of agentd_providers.local.first_sounds: its gradient, written out, and Adam. Numpy only."""

from collections.abc import Callable, Mapping

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

FIRST, SECOND, HIDDEN, KINDS = 16, 16, 24, 3
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
    decay: float = 0.02,
    dropped: float = 0.3,
    after_round: Callable[[int, Network], None] = lambda _number, _network: None,
) -> Network:
    """Fit a network in so many rounds over all examples; `after_round` sees what there is by then."""
    network = begun(chance)
    means = {name: [np.zeros_like(one) for one in network.layers[name]] for name in LAYERS}
    squares = {name: [np.zeros_like(one) for one in network.layers[name]] for name in LAYERS}
    steps, size = 0, 128
    for number in range(rounds):
        order = chance.permutation(len(examples.kind))
        speed = rate * 0.5 * (1 + np.cos(np.pi * number / rounds))
        for start in range(0, len(order) - size + 1, size):
            some = order[start : start + size]
            batch = Examples(varied(examples.given[some], chance), examples.kind[some], examples.weight[some])
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
        after_round(number, network)
    return network


def varied(given: Floats, chance: np.random.Generator) -> Floats:
    """The same a little earlier or later, with another tilt of its bands, and a few bands missing."""
    shift = int(chance.integers(-2, 3))
    made = np.roll(given, shift, axis=1)
    if shift > 0:
        made[:, :shift] = given[:, :1]
    elif shift < 0:
        made[:, shift:, :BANDS], made[:, shift:, BANDS:] = -1.0, 0.0
    there = made[..., BANDS:]
    tilt = chance.normal(0, 0.12, (len(given), 1, 1)) * np.linspace(-1, 1, BANDS) + chance.normal(
        0, 0.05, (len(given), 1, 1)
    )
    bands = np.clip(made[..., :BANDS] + tilt * there, -1.0, 1.0)
    low = int(chance.integers(0, BANDS - 2))
    if chance.random() < 0.3:
        bands[..., low : low + 3] = -1.0
    return np.asarray(np.concatenate((bands, there), axis=-1), np.float32)
