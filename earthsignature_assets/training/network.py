"""Networks: small U-Nets that are translation-equivariant at their stride, so that tiling with a halo is exact.

Without global pooling and normalisation over the image, an output depends on its receptive field only. `Architecture`
starts from random weights; other architectures may bring pretrained ones. Needs PyTorch (the extra `train`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

LOG_SCALE = 200.0
"""Reflectance × 10000 at which the scaling turns from linear to logarithmic: above the noise over water."""


@dataclass(frozen=True)
class NetworkArchitecture(ABC):
    """Layers of a network and the extent of its receptive field.

    `title` is its name for people. `core` is the side in pixels of a window without its halo in operation: as large as
    memory allows for two windows at once. `covers` is the number of a teacher's covers that it predicts as a side task,
    in training only: no exported graph holds them.
    """

    title: ClassVar[str]
    core: ClassVar[int]
    bands: int = 10
    classes: int = 8
    covers: int = 0

    @property
    @abstractmethod
    def stride(self) -> int:
        """Total down-sampling in pixels."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Largest distance in pixels from which an input affects an output, over all positions within the stride."""

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the square, centred on an output, that the output depends on."""
        return 2 * self.reach + 1

    @property
    def halo(self) -> int:
        """Margin in pixels to read around a patch: the reach, rounded up to the stride."""
        return -(-self.reach // self.stride) * self.stride

    @abstractmethod
    def network(self, mean: Sequence[float], deviation: Sequence[float]) -> "SegmentationNetwork":
        """Build the layers.

        Args:
            mean: mean of log(reflectance + `LOG_SCALE`) of every band over the training pixels.
            deviation: its standard deviation.
        """


@dataclass(frozen=True)
class Architecture(NetworkArchitecture):
    """A U-Net of `width` channels at the full resolution, doubled at each of `depth` halvings.

    Only convolutions, max-pooling, nearest up-sampling and additive skips; batch normalisation folds into the
    convolutions at export.
    """

    title: ClassVar[str] = "U-Net"
    core: ClassVar[int] = 896
    width: int = 16
    depth: int = 3

    @property
    def stride(self) -> int:
        """Total down-sampling in pixels."""
        return 1 << self.depth

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of every level, the full resolution first; the deepest level has 1.5 times those above."""
        levels = [self.width << level for level in range(self.depth)]
        return (*levels, levels[-1] * 3 // 2)

    @property
    def reach(self) -> int:
        """Largest distance in pixels from which an input affects an output, over all positions within the stride.

        Each 3 × 3 convolution at level l reaches 2^l pixels; two per level going down, one going up. Pooling and
        nearest up-sampling tie an output to its whole block of the stride, stride - 1 pixels at most.
        """
        down = sum(2 << level for level in range(self.depth + 1))
        up = sum(1 << level for level in range(self.depth))
        return down + up + self.stride - 1

    def network(self, mean: Sequence[float], deviation: Sequence[float]) -> "UNet":
        """Build the layers, see `NetworkArchitecture`."""
        return UNet(self, mean, deviation)


class SegmentationNetwork(nn.Module):  # type: ignore[misc]  # PyTorch is absent where types are checked
    """A network from reflectance × 10000, (n, bands, height, width) float32, to logits, (n, classes, height, width).

    `head` and `covers` predict classes and a teacher's covers from the features.
    """

    architecture: NetworkArchitecture
    head: nn.Module
    covers: nn.Module | None

    def features(self, reflectance: torch.Tensor) -> Any:
        """Compute the input of `head` and `covers`."""
        raise NotImplementedError

    def forward(self, reflectance: torch.Tensor) -> torch.Tensor:
        """Return logits; height and width must be multiples of the stride."""
        logits: torch.Tensor = self.head(self.features(reflectance))
        return logits


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(SegmentationNetwork):
    """The U-Net of `Architecture`, with random weights."""

    def __init__(self, architecture: Architecture, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Build the layers; mean and deviation as `NetworkArchitecture.network` takes them."""
        super().__init__()
        self.architecture = architecture
        channels = architecture.channels
        centre, scale = torch.tensor(mean), 1 / torch.tensor(deviation)
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", (-centre * scale)[:, None, None])
        self.down = nn.ModuleList()
        inputs = architecture.bands
        for outputs in channels:
            self.down.append(nn.Sequential(_block(inputs, outputs), _block(outputs, outputs)))
            inputs = outputs
        self.narrow = nn.ModuleList(
            nn.Conv2d(deep, shallow, 1) for deep, shallow in zip(channels[1:], channels[:-1], strict=True)
        )
        self.up = nn.ModuleList(_block(shallow, shallow) for shallow in channels[:-1])
        self.dropout = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(channels[0], architecture.classes, 1)
        self.covers = nn.Conv2d(channels[0], architecture.covers, 1) if architecture.covers else None

    def features(self, reflectance: torch.Tensor) -> torch.Tensor:
        """Compute the input of `head` and `covers`, (n, channels, height, width)."""
        features = torch.log(reflectance + LOG_SCALE) * self.scale + self.shift
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                features = nn.functional.max_pool2d(features, 2)
            features = block(features)
            skips.append(features)
        features = self.dropout(features)
        for level in reversed(range(len(self.up))):
            raised = nn.functional.interpolate(self.narrow[level](features), scale_factor=2.0, mode="nearest")
            features = self.up[level](raised + skips[level])
        dropped: torch.Tensor = self.dropout(features)
        return dropped


class PackagedNetwork(nn.Module):  # type: ignore[misc]  # see SegmentationNetwork
    """The exported graph: uint16 reflectance in, class index and confidence out."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, reflectance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class index 1…K and confidence in percent, both (n, height, width) uint8."""
        logits = self.network(reflectance.to(torch.float32))
        best, index = logits.max(dim=1, keepdim=True)
        # The probability of the best class only: exp(0) over the sum, without the other quotients of a softmax.
        confidence = 100.0 / torch.exp(logits - best).sum(dim=1)
        return (index[:, 0] + 1).to(torch.uint8), torch.round(confidence).to(torch.uint8)


def measured_reach(architecture: NetworkArchitecture) -> int:
    """Measure the reach: perturb one pixel, and find the farthest output that changes.

    Every position of the pixel within the stride is tried. All weights are positive, so that no contribution cancels or
    vanishes in an activation, and different, so that none vanishes where features are normalised to one length.
    """
    probe = architecture.network([0.0] * architecture.bands, [1.0] * architecture.bands).eval().double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.uniform_(0.05, 0.15, generator=generator)
        side = 4 * architecture.halo
        base = torch.zeros(1, architecture.bands, side, side, dtype=torch.float64)
        quiet = probe(base)
        reach = 0
        for shift in range(architecture.stride):
            position = side // 2 + shift
            touched = base.clone()
            touched[0, :, position, position] = 1e4
            rows, columns = np.nonzero((probe(touched) != quiet).any(dim=1)[0].numpy())
            reach = max(reach, int(np.abs(rows - position).max()), int(np.abs(columns - position).max()))
    return reach


def predict(network: SegmentationNetwork, reflectance: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Predict the class index 1…K, (n, height, width) uint8, of patches whose sides are multiples of the stride."""
    network.eval()
    with torch.no_grad():
        image = torch.from_numpy(reflectance.astype(np.int32)).to(next(network.parameters()).device)
        index, _ = PackagedNetwork(network)(image)
    result: npt.NDArray[np.uint8] = index.cpu().numpy()
    return result
