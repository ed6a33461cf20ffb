import numpy as np

from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.graph import Graph, padded
from earthsignature_assets.models.repository import shipped_repository


def test_padding_repeats_the_last_pixels() -> None:
    image = np.arange(2 * 3 * 5, dtype=np.uint16).reshape(2, 3, 5)
    result = padded(image, 4)
    assert result.shape == (2, 4, 8)
    np.testing.assert_array_equal(result[:, :3, :5], image)
    np.testing.assert_array_equal(result[:, 3, :5], image[:, 2])
    np.testing.assert_array_equal(result[:, :3, 7], image[:, :, 4])
    assert padded(image[:, :, :4].repeat(4, axis=1), 4).shape == (2, 12, 4)


def test_a_scene_of_any_size_keeps_its_size() -> None:
    graph = Graph(shipped_repository().graph(ModelVersion("corine-unet", 1)))
    image = np.random.default_rng(0).integers(1, 5000, (10, 61, 83)).astype(np.uint16)
    answer = graph.run_scene(image, 8)
    assert answer.shape == (61, 83)
    np.testing.assert_array_equal(answer, graph.run(padded(image, 8)[None])[0][0, :61, :83])
