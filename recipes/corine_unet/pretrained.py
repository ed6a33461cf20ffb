"""A U-Net of one halving with Dynamic World's layers and initial weights, and other activations and heads.

Dynamic World V1 (Brown et al. 2022, Scientific Data 9:251, Apache-2.0; the required notice is in the version's card)
learnt its features from 24,000 hand-labelled images of all continents; a few hundred samples of CORINE classes train
new heads, and fine-tune every layer. The differences save time or add resolution:

- Mish becomes hard swish, which takes a sixth of the time; training compensates for it.
- The convolution at the full resolution sees B8A too, with initial weights of 0.
- Halving is a mean of 2 × 2 pixels; features are normalised to one length before upsampling, not after.
- Classes are predicted from the features of both resolutions, so that borders have 10 m resolution.
- The input is level-2A: typical path radiance is added, because Dynamic World expects level-1C.

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
"""Channels at the full resolution, of the three blocks at half resolution, and of the bypass of the first two."""

_LENGTH = math.sqrt(_WIDTHS[2])
"""Length of the vector of deep features, so that each feature is about 1."""

_LIKE_B08 = np.array([BANDS.index(S2_BANDS.index("B08" if band == "B8A" else band)) for band in S2_BANDS])
"""Index of the normalisation of each band: B8A, which Dynamic World does not have, gets that of B08."""


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
        """Largest distance in pixels from which an input affects an output.

        One convolution at the full resolution; three blocks of three at half resolution, and one pixel there for
        upsampling.
        """
        return 1 + 2 * (3 * 3 + 1)

    def network(self, mean: Sequence[float] = (), deviation: Sequence[float] = ()) -> "PretrainedUNet":  # noqa: ARG002
        """Build the layers with Dynamic World's weights and scaling; mean and deviation are ignored.

        Raises:
            ModelError: the graph is missing, or is not Dynamic World's.
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
        self._copy_weights(architecture.graph)

    def features(self, reflectance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the input of the heads: (n, 144, height / 2, width / 2) of length 12, and (n, 64, height, width)."""
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

    def _copy_weights(self, graph: Path) -> None:
        """Copy the weights of the graph, whose convolutions are in the order of `_layers`."""
        layers = list(self._layers())
        if not graph.is_file():
            raise ModelError(f"{graph} is missing: the network starts from Dynamic World's forward model as ONNX")
        content = onnx.load(graph).graph
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in content.initializer}
        weights = [[tensors[name] for name in node.input[1:]] for node in content.node if node.op_type == "Conv"]
        # The first layer has one band fewer, and the last one is the head of the covers.
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
    """Three pairs of a pointwise and a depthwise convolution, with a bypass."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.past = nn.Conv2d(inputs, outputs, 1)
        self.path = nn.ModuleList()
        for channels in (inputs, outputs, outputs):
            self.path += [nn.Conv2d(channels, outputs, 1), _depthwise(outputs)]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, inputs, height, width) to (n, outputs, height, width)."""
        through = features
        for layer in self.path:
            through = _activation(layer(through))
        both: torch.Tensor = through + _activation(self.past(features))
        return both

    def layers(self) -> Iterator[nn.Conv2d]:
        """Yield the convolutions in the order of Dynamic World's graph."""
        yield self.past
        yield from self.path


class _Head(nn.Module):  # type: ignore[misc]  # see _Block
    """A head for classes or covers on upsampled deep features, and on fine features with initial weights of 0."""

    def __init__(self, outputs: int, *, fine: bool) -> None:
        super().__init__()
        self.deep = nn.Conv2d(_WIDTHS[2], outputs, 1)
        self.fine = nn.Conv2d(_FINE, outputs, 1, bias=False) if fine else None
        if self.fine is not None:
            nn.init.zeros_(self.fine.weight)

    def forward(self, features: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Map deep and fine features to (n, outputs, height, width)."""
        deep, fine = features
        logits: torch.Tensor = nn.functional.interpolate(self.deep(deep), scale_factor=2.0, mode="bilinear")
        return logits if self.fine is None else logits + self.fine(fine)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


def _activation(features: torch.Tensor) -> torch.Tensor:
    activated: torch.Tensor = nn.functional.hardswish(features)
    return activated
