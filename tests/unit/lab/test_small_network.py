"""The gradient that a network is fitted by is the gradient, and fitting finds what there is to find."""

import numpy as np
import pytest

from agentd_providers.local.first_sounds import BANDS, FRAMES, LAYERS, Network
from tests.lab.small_network import Examples, begun, fitted, gradient, loss, varied


def examples(count: int, seed: int = 0) -> Examples:
    """Three kinds that differ in which bands are loud."""
    chance = np.random.default_rng(seed)
    kind = chance.integers(0, 3, count)
    given = chance.normal(-0.5, 0.2, (count, FRAMES, BANDS + 1)).astype(np.float32)
    given[..., BANDS] = 1.0
    for number, which in enumerate(kind):
        given[number, 16:40, 8 * which : 8 * which + 8] += 0.8
    return Examples(given.clip(-1, 1), kind, chance.uniform(0.5, 2, count).astype(np.float32))


def moved(network: Network, layer: str, which: int, at: tuple[int, ...], by: float) -> Network:
    layers = {name: (pair[0].astype(np.float64), pair[1].astype(np.float64)) for name, pair in network.layers.items()}
    layers[layer][which][at] += by
    return Network(layers)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_is_how_the_loss_changes(layer: str, which: int) -> None:
    network, some = begun(np.random.default_rng(1)), examples(8)
    found = gradient(network, some)[layer][which]
    at = np.unravel_index(int(np.abs(found).argmax()), found.shape)
    step = 1e-3
    there, back = (loss(moved(network, layer, which, at, by), some) for by in (step, -step))
    assert found[at] == pytest.approx((there - back) / (2 * step), rel=0.1, abs=1e-3)


def test_kinds_that_differ_are_told_apart() -> None:
    network = fitted(examples(512), np.random.default_rng(2), rounds=12)
    other = examples(128, seed=9)
    assert (network.judge(other.given).argmax(axis=1) == other.kind).mean() > 0.9


def test_what_is_varied_is_still_what_the_network_is_given() -> None:
    chance, some = np.random.default_rng(3), examples(8)
    for _ in range(20):
        made = varied(some.given, chance)
        assert made.shape == some.given.shape
        assert np.abs(made).max() <= 1.0
        assert set(np.unique(made[..., BANDS])) <= {0.0, 1.0}
