"""Distillation: a network learns the mean prediction of several of its kind, which depends less on the seed.

The accuracies of networks of one recipe and different seeds differ by several points on unseen patches; their mean is
more stable. It is computed for every pixel of the training samples, labelled or not, at either level and under several
atmospheres, and a new network learns it in addition to the labels (Hinton, Vinyals & Dean 2015, arXiv:1503.02531). The
resulting network is neither larger nor slower. Needs PyTorch (the extra `train`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.models.graph import padded
from earthsignature_assets.training.augmentation import as_typical_surface
from earthsignature_assets.training.network import SegmentationNetwork
from recipes.corine_unet.atmospheres import as_typical_top, under_one_deviation

_ATMOSPHERES = range(1000, 1006)  # different from those of the evaluation


def soft_labels(networks: Sequence[SegmentationNetwork], sample: Sample) -> npt.NDArray[np.float32]:
    """Predict the mean probability of each class, (classes, height, width) float32, 0 where there is no data.

    The mean is over networks and views: the sample at either level and under six other atmospheres, each view rotated
    differently, so that no direction is preferred.
    """
    total = np.zeros((networks[0].architecture.classes, *sample.codes.shape), np.float64)
    views = list(_views(sample))
    for turns, image in enumerate(views):
        for network in networks:
            total += np.rot90(class_probabilities(network, np.rot90(image, turns, (1, 2))), -turns, (1, 2))
    observed = sample.reflectance.max(axis=0) > 0
    mean: npt.NDArray[np.float32] = (total * observed / (len(views) * len(networks))).astype(np.float32)
    return mean


def class_probabilities(network: SegmentationNetwork, reflectance: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Predict the probability of each class, (classes, height, width) float32, of one image, (10, height, width)."""
    height, width = reflectance.shape[1:]
    image = padded(reflectance, network.architecture.stride).astype(np.float32)
    with torch.inference_mode():
        softmax = torch.softmax(network.eval()(torch.from_numpy(image)[None]), dim=1)[0]
    probabilities: npt.NDArray[np.float32] = softmax[:, :height, :width].numpy()
    return probabilities


def _views(sample: Sample) -> Iterator[npt.NDArray[np.uint16]]:
    surface = as_typical_surface(sample)
    yield surface
    yield as_typical_top(surface) if sample.level == "L2A" else sample.reflectance
    for seed in _ATMOSPHERES:
        yield under_one_deviation(surface, seed)
