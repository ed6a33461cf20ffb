"""A training of seconds: two samples, a tiny network, a short recipe. Needs PyTorch."""

import numpy as np
import torch
from rich.progress import Progress

from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.training.network import Architecture, UNet
from earthsignature_assets.training.optimisation import Recipe

CODES = (112, 121, 211, 222, 231, 313, 321, 512)
TINY = Architecture(classes=len(CODES), width=4, depth=2)
RECIPE = Recipe(epochs=6, side=32, batch=2, threads=1, learning_rate=1e-2)
QUIET = Progress(disable=True)


def samples(forest: int = 3000) -> list[Sample]:
    """Make a sample of forest and a sample of water."""
    values = {313: forest, 512: 200}
    return [
        Sample(
            str(code), "EuroSAT", "L2A", "", np.full((10, 64, 64), value, np.uint16),
            np.full((64, 64), code, np.uint16), 0.0, 0.0,
        )
        for code, value in values.items()
    ]  # fmt: skip


def assert_same(one: UNet, other: UNet) -> None:
    """Fail where two networks differ in a weight."""
    for (name, first), second in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(first, second), name
