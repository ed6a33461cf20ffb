"""A U-Net of one halving that begins as Dynamic World: its layers and weights, with other activations and other heads.

Dynamic World V1 (Brown et al. 2022, Scientific Data 9:251, Apache-2.0; the notice that it requires is in the version's
card) learnt its features from 24,000 hand-labelled images of all continents; a few hundred samples of CORINE classes
teach new heads, and every layer a little. It differs in what would cost too much or see too little:

- Mish becomes hard swish, which takes a sixth of the time; training makes up for it.
- The convolution at the full resolution sees B8A too, with weights that begin at 0.
- Halving is a mean of 2 × 2 pixels; features get one length before they are raised, not after.
- Classes are told from the features of both resolutions, so that borders are those of 10 m.
- Level-2A comes in: typical path radiance is put on, because Dynamic World expects level-1C.

Needs PyTorch and onnx (the extra `train`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from earthsignature_assets.errors import ModelError
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.training.augmentation import PATH_RADIANCE
from earthsignature_assets.training.network import NetworkArchitecture, SegmentationNetwork
from recipes.corine_unet.shipped_card import FROM_DYNAMIC_WORLD
from recipes.corine_unet.teacher import BANDS, COVERS, NORMALISATION

_FINE, _WIDTHS, _SIDE = 64, (96, 144, 144), 48
"""Channels at the full resolution, of the three blocks at half of it, and of what goes past the first two."""

_LENGTH = math.sqrt(_WIDTHS[2])
"""Of the vector of deep features, so that each is about 1."""

_LIKE_B08 = np.array([BANDS.index(S2_BANDS.index("B08" if band == "B8A" else band)) for band in S2_BANDS])
"""Whose normalisation each of our bands gets: B8A, which Dynamic World does not know, that of B08."""


@dataclass(frozen=True)
class PretrainedArchitecture(NetworkArchitecture):
    """Dynamic World's layers, read from `graph`, the ONNX form of its forward model."""

    title: ClassVar[str] = FROM_DYNAMIC_WORLD
    core: ClassVar[int] = 448
    graph: Path = field(repr=False, kw_only=True)

    @property
    def stride(self) -> int:
        """Total down-sampling in pixels."""
        return 2

    @property
    def reach(self) -> int:
        """Pixels that one output sees at most to any side.

        One convolution at the full resolution; three blocks of three at half of it, and one pixel there for raising.
        """
        return 1 + 2 * (3 * 3 + 1)

    def network(self, mean: Sequence[float] = (), deviation: Sequence[float] = ()) -> "PretrainedUNet":  # noqa: ARG002
        """Build the layers with Dynamic World's weights and scaling: mean and deviation are not asked for.

        Raises:
            ModelError: the graph is missing, or is another one.
        """
        return PretrainedUNet(self)


class PretrainedUNet(SegmentationNetwork):
    """The network of `PretrainedArchitecture`."""

    def __init__(self, architecture: PretrainedArchitecture) -> None:
        """Build the layers, and read their weights."""
        super().__init__()
        self.architecture = architecture
        mean, deviation = NORMALISATION[_LIKE_B08].T[:, :, None, None]
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("deviation", torch.from_numpy(deviation))
        self.register_buffer("path_radiance", torch.from_numpy(PATH_RADIANCE[:, None, None].copy()))
        self.first = nn.Conv2d(architecture.bands, _FINE, 3, padding=1)
        self.one, self.two = _Block(_FINE, _WIDTHS[0]), _Block(_WIDTHS[0], _WIDTHS[1])
        self.side = nn.ModuleList([nn.Conv2d(_FINE, _SIDE, 1), _depthwise(_SIDE)])
        self.three = _Block(_WIDTHS[1] + _SIDE, _WIDTHS[2])
        self.dropout = nn.Dropout2d(0.1)
        self.head = _Head(architecture.classes, fine=True)
        self.covers = _Head(architecture.covers, fine=False) if architecture.covers else None
        self._begin(architecture.graph)

    def features(self, reflectance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What heads tell from: (n, 144, height / 2, width / 2), of length 12 each, and (n, 64, height, width)."""
        logarithms = torch.log((reflectance + self.path_radiance) * 0.005 + 1)
        fine = _activation(self.first(torch.sigmoid((logarithms - self.mean) / self.deviation * 5 - 1)))
        halved = nn.functional.avg_pool2d(fine, 2)
        past = halved
        for layer in self.side:
            past = _activation(layer(past))
        deep = self.three(torch.cat([self.two(self.one(halved)), past], dim=1))
        deep = deep.to(torch.promote_types(deep.dtype, torch.float32))
        deep = deep * torch.rsqrt((deep * deep).sum(dim=1, keepdim=True) + 1e-6) * _LENGTH
        return self.dropout(deep), self.dropout(fine)

    def _begin(self, graph: Path) -> None:
        """Take over the weights of the graph, whose convolutions come in the order of `_layers`."""
        layers = list(self._layers())
        if not graph.is_file():
            raise ModelError(f"{graph} is missing: the network begins from Dynamic World's forward model as ONNX")
        content = onnx.load(graph).graph
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in content.initializer}
        weights = [[tensors[name] for name in node.input[1:]] for node in content.node if node.op_type == "Conv"]
        # The first layer sees a band less, and the last is the head that tells covers, of the length of its features.
        shapes = [tuple(layer.weight.shape) for layer in layers]
        shapes[0] = (_FINE, len(BANDS), 3, 3)
        if [weight.shape for weight, _ in weights[:-1]] != shapes or len(weights[-1][0]) != len(COVERS):
            raise ModelError(f"{graph} does not hold the layers of Dynamic World's forward model")
        with torch.no_grad():
            for layer, (weight, bias) in zip(layers, weights[:-1], strict=True):
                layer.bias.copy_(torch.from_numpy(bias.copy()))
                if layer is self.first:
                    layer.weight.zero_()
                    layer.weight[:, BANDS] = torch.from_numpy(weight.copy())
                else:
                    layer.weight.copy_(torch.from_numpy(weight.copy()))
            if self.covers is not None and self.covers.deep.out_channels == len(COVERS):
                self.covers.deep.weight.copy_(torch.from_numpy(weights[-1][0] / _LENGTH))
                self.covers.deep.bias.copy_(torch.from_numpy(weights[-1][1].copy()))

    def _layers(self) -> Iterator[nn.Conv2d]:
        yield self.first
        yield from self.one.layers()
        yield from self.two.layers()
        yield from self.side
        yield from self.three.layers()


class _Block(nn.Module):  # type: ignore[misc]  # PyTorch is absent where types are checked
    """Three times a convolution of each pixel's channels and one of each channel, and a way past them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.past = nn.Conv2d(inputs, outputs, 1)
        self.path = nn.ModuleList()
        for channels in (inputs, outputs, outputs):
            self.path += [nn.Conv2d(channels, outputs, 1), _depthwise(outputs)]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, inputs, height, width) to (n, outputs, height, width)."""
        through = features
        for layer in self.path:
            through = _activation(layer(through))
        both: torch.Tensor = through + _activation(self.past(features))
        return both

    def layers(self) -> Iterator[nn.Conv2d]:
        """In the order of Dynamic World's graph."""
        yield self.past
        yield from self.path


class _Head(nn.Module):  # type: ignore[misc]  # see _Block
    """Tells so many classes, or covers, from the deep features, raised, and from the fine ones; those begin at 0."""

    def __init__(self, outputs: int, *, fine: bool) -> None:
        super().__init__()
        self.deep = nn.Conv2d(_WIDTHS[2], outputs, 1)
        self.fine = nn.Conv2d(_FINE, outputs, 1, bias=False) if fine else None
        if self.fine is not None:
            nn.init.zeros_(self.fine.weight)

    def forward(self, features: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """The deep and the fine features to (n, outputs, height, width)."""
        deep, fine = features
        told: torch.Tensor = nn.functional.interpolate(self.deep(deep), scale_factor=2.0, mode="bilinear")
        return told if self.fine is None else told + self.fine(fine)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


def _activation(features: torch.Tensor) -> torch.Tensor:
    activated: torch.Tensor = nn.functional.hardswish(features)
    return activated
