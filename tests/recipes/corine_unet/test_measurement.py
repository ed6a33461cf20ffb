import io

import numpy as np
import pytest
from PIL import Image

from earthsignature_assets.ground_truth.samples import Sample
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph
from earthsignature_assets.models.repository import ModelDescription, shipped_repository
from earthsignature_assets.nomenclature import class_of
from earthsignature_assets.training.augmentation import as_typical_surface
from recipes.corine_unet.data import LabelledScene
from recipes.corine_unet.measurement import (
    codes_of_scene,
    judge_scene,
    level_agreement,
    measure_speed,
    picture,
)

V1 = ModelVersion("corine-unet", 1)


@pytest.fixture(scope="module")
def description() -> ModelDescription:
    return shipped_repository().describe(V1)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(shipped_repository().graph(V1))


def _scene() -> LabelledScene:
    polygons = np.zeros((64, 72), np.uint16)
    polygons[10:20, 10:20] = 1
    polygons[40:50, 40:60] = 2
    reflectance = np.random.default_rng(1).integers(200, 3000, (10, 64, 72)).astype(np.uint16)
    return LabelledScene("scene", reflectance, polygons, ("forest", "water"), (313, 512), 23.0, 46.0)


def test_a_scene_is_evaluated_as_it_is_and_shifted(graph: Graph, description: ModelDescription) -> None:
    scene = _scene()
    figures = judge_scene(graph, description, scene, (1, 2))
    predicted = codes_of_scene(graph, description, scene.reflectance)
    right = (predicted == scene.codes((1, 2)))[scene.polygons > 0].mean()
    assert figures["pixels"]["overall_accuracy"] == pytest.approx(right, abs=1e-4)
    assert figures["pixels"]["total"] == 300
    assert figures["level_shifts"][0]["overall_accuracy"] == figures["pixels_grouped"]["overall_accuracy"]
    assert len(figures["level_shifts"]) == 6


def test_agreement_counts_the_pixels_that_keep_their_class_at_another_level(
    graph: Graph, description: ModelDescription
) -> None:
    surface = _scene().reflectance
    patch = Sample("patch", "EuroSAT", "L1C", "", surface + np.uint16(600), np.zeros((64, 72), np.uint16), 0.0, 0.0)
    figures = level_agreement(graph, description, surface, [patch])
    top, lowered = (
        codes_of_scene(graph, description, image) for image in (patch.reflectance, as_typical_surface(patch))
    )
    assert figures[-1]["same_code"] == pytest.approx((top == lowered).mean(), abs=1e-4)
    for entry in figures:
        assert 0 < entry["same_code"] <= entry["same_group"] <= 1
    still = level_agreement(graph, description, np.zeros_like(surface), [patch])
    assert still[0]["same_code"] == still[1]["same_code"] == 1


def test_speed_includes_the_halo(graph: Graph, description: ModelDescription) -> None:
    speed = measure_speed(graph, description, threads=2, repeats=1)
    pixels = (10980 / 1024) ** 2 * ((1024 + 2 * description.halo) / 1024) ** 2
    assert speed["minutes_per_tile_with_halo"] == pytest.approx(speed["seconds_per_1024"] * pixels / 60, abs=0.02)


def test_the_picture_shows_three_panels(description: ModelDescription) -> None:
    scene = _scene()
    image = Image.open(io.BytesIO(picture(scene, scene.codes((1, 2)), description.class_codes, "title")))
    assert image.format == "PNG"
    colours = set(map(tuple, np.asarray(image).reshape(-1, 3).tolist()))
    assert {class_of(entry.code).rgb for entry in description.classes} <= colours
    assert image.width > 3 * 72
