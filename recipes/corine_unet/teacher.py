"""Dynamic World as a teacher that confirms or removes the label of each pixel of a patch.

Dynamic World V1 (Brown et al. 2022, Scientific Data 9:251) predicts nine cover types from level-1C images. It confirms
or removes the label of the patch, and finds the water and the trees of patches that hold several covers. The model was
produced for the Dynamic World Project by Google in partnership with National Geographic and the World Resources
Institute.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from earthsignature_assets.errors import ModelError
from earthsignature_assets.ground_truth.samples import VOID, Sample, class_set
from earthsignature_assets.sentinel2 import S2_BANDS
from recipes.corine_unet.data import CLASS_CODES, EUROSAT_CODES

COVERS = ("water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare", "snow_and_ice")
"""Dynamic World's cover types in the order of its output."""

BANDS = [S2_BANDS.index(band) for band in ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")]
"""Positions of Dynamic World's bands in `S2_BANDS`."""

NORMALISATION = np.array(
    [
        [1.7417268007636313, 2.023298706048351],
        [1.7261204997060209, 2.038905204308012],
        [1.6798346251414997, 2.179592821212937],
        [1.7734969472909623, 2.2890068333026603],
        [2.289154079164943, 2.6171674549378166],
        [2.382939712192371, 2.773418590375327],
        [2.3828939530384052, 2.7578332604178284],
        [2.1952484264967844, 2.789092484314204],
        [1.554812948247501, 2.4140534947492487],
    ],
    np.float32,
)
"""Shift and scale of each band after the logarithm: github.com/google/dynamicworld, single_image_runner.ipynb."""

_REFUSED_BY: dict[str, tuple[str, ...]] = {
    "AnnualCrop": ("water", "trees", "built"),
    "Forest": ("water", "grass", "crops", "built", "bare"),
    "HerbaceousVegetation": ("water", "built", "crops"),
    "Industrial": ("water", "trees", "grass", "crops", "shrub_and_scrub"),
    "Pasture": ("water", "trees", "built", "bare", "shrub_and_scrub"),
    "PermanentCrop": ("water", "built"),
    "Residential": ("water", "trees", "crops", "shrub_and_scrub"),
    "River": tuple(cover for cover in COVERS if cover != "water"),
    "SeaLake": tuple(cover for cover in COVERS if cover != "water"),
}
"""Covers that remove a pixel's label: those that a patch of the label holds besides its class."""

_FOUND = {"water": 512, "trees": 313, "crops": 211}
"""Covers that give a pixel its class where the teacher is sure, in the patches of the labels below."""

_FOUND_IN = {
    "water": frozenset({"AnnualCrop", "Highway", "Industrial", "Pasture", "Residential", "River"}),
    "trees": frozenset({"AnnualCrop", "Highway", "Industrial", "Pasture", "River"}),
    "crops": frozenset({"Highway", "Industrial", "River"}),
}
_SURE = 0.65

_MAY_BE = {
    "water": class_set(512, among=CLASS_CODES),
    "trees": class_set(222, 313, among=CLASS_CODES),
    "grass": class_set(231, 321, among=CLASS_CODES),
    "crops": class_set(211, 222, among=CLASS_CODES),
    "shrub_and_scrub": class_set(222, 321, among=CLASS_CODES),
    "built": class_set(112, 121, among=CLASS_CODES),
    "bare": class_set(121, 211, 321, among=CLASS_CODES),
}
"""Classes that a cover allows; the other covers, wetland and snow, match none of the classes."""

_RATHER_SURE = 0.5

_MIXED = frozenset({"Industrial", "Residential"})
"""Labels of land use, which include the vegetation there."""

_MARGIN = 32  # probabilities near the border are off by up to 0.24, so patches are mirrored outward


class DynamicWorld:
    """The teacher, for one image at a time."""

    def __init__(self, graph: Path, threads: int = 2) -> None:
        """Load the ONNX form of Dynamic World's forward model.

        Raises:
            ModelError: the file is absent.
        """
        if not graph.is_file():
            raise ModelError(f"{graph} is missing: the teacher is Dynamic World's forward model as ONNX")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def covers(self, reflectance: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Predict the probability of each cover, (9, height, width) float32, of a level-1C image.

        Args:
            reflectance: (10, height, width) uint16 × 10000, bands as `S2_BANDS`.
        """
        margin = min(_MARGIN, min(reflectance.shape[1:]) - 1)
        image = np.pad(reflectance[BANDS].astype(np.float32), ((0, 0), (margin, margin), (margin, margin)), "reflect")
        image = np.moveaxis(image, 0, -1)
        scaled = (np.log(image * 0.005 + 1) - NORMALISATION[:, 0]) / NORMALISATION[:, 1]
        scaled = 1 / (1 + np.exp(1 - scaled * 5))
        name = self._session.get_inputs()[0].name
        logits = self._session.run(None, {name: scaled[None].astype(np.float32)})[0][0]
        logits = logits[margin:-margin, margin:-margin]
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: npt.NDArray[np.float32] = np.moveaxis(powers / powers.sum(axis=-1, keepdims=True), -1, 0)
        return probabilities


def refine(sample: Sample, covers: npt.NDArray[np.float32]) -> Sample:
    """Keep a patch's label where the teacher does not contradict it, and label the covers that it is sure of.

    Args:
        sample: a EuroSAT patch.
        covers: (9, height, width) float32 of `DynamicWorld.covers` on the same patch.

    Returns:
        The patch, void where label and teacher disagree. Highway patches keep only the labels from the teacher.
    """
    cover = covers.argmax(axis=0)
    refused = [COVERS.index(name) for name in _REFUSED_BY.get(sample.label, COVERS)]
    codes = np.where(np.isin(cover, refused), np.uint16(VOID), sample.codes)
    for name, code in _FOUND.items():
        if sample.label in _FOUND_IN[name]:
            codes = np.where(covers[COVERS.index(name)] >= _SURE, np.uint16(code), codes)
    return sample.with_codes(codes)


def supplement(sample: Sample, covers: npt.NDArray[np.float32]) -> Sample:
    """Add the classes that the teacher allows for the pixels without a code, where it is fairly sure of the cover.

    Args:
        sample: a EuroSAT patch, refined or not, or a labelled polygon with its surroundings.
        covers: (9, height, width) float32 of `DynamicWorld.covers` on the same image as level-1C.
    """
    cover, sure = covers.argmax(axis=0), covers.max(axis=0) >= _RATHER_SURE
    weak = np.zeros(cover.shape, np.uint64)
    own = class_set(EUROSAT_CODES[sample.label], among=CLASS_CODES) if sample.label in _MIXED else 0
    for name, classes in _MAY_BE.items():
        weak[(cover == COVERS.index(name)) & sure] = classes if name == "water" else classes | own
    return replace(sample, weak=np.where(sample.codes == VOID, weak, np.uint64(0)))
