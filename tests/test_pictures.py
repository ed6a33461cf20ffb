import io

import numpy as np
from PIL import Image

from earthsignature_assets.pictures import (
    Panel,
    input_truth_prediction,
    land_cover,
    overview,
    png,
    side_by_side,
    true_colour,
)


def test_no_data_is_white_and_bright_ground_saturates() -> None:
    band = np.array([[0, 1, 2500, 9000]], np.uint16)
    image = true_colour(band, band, band)
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 1].max() < 10
    assert image[0, 2].tolist() == image[0, 3].tolist() == [255, 255, 255]


def test_land_cover_is_in_official_colours() -> None:
    assert land_cover(np.array([[0, 112, 523]], np.uint16)).tolist() == [
        [[255, 255, 255], [255, 0, 0], [230, 242, 255]]
    ]


def test_an_overview_never_mixes_classes() -> None:
    codes = np.random.default_rng(1).choice(np.array([112, 312], np.uint16), (300, 200))
    small = overview(codes, 60, categorical=True)
    assert small.shape == (60, 40)
    assert set(np.unique(small)) <= {112, 312}


def test_panels_stand_side_by_side_with_a_legend() -> None:
    panel = np.zeros((50, 80, 3), np.uint8)
    plain = side_by_side([Panel("input", panel), Panel("map", panel)])
    sheet = side_by_side([Panel("input", panel), Panel("map", panel)], legend=[112, 312], title="A scene")
    assert sheet.shape[0] > plain.shape[0]
    assert sheet.shape[1] == plain.shape[1]
    assert (sheet.reshape(-1, 3) == (255, 0, 0)).all(axis=1).any()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(sheet)))), sheet)


def test_the_input_is_left_the_truth_right_above_and_the_prediction_right_below() -> None:
    red, green, blue = (np.full((60, 60, 3), rgb, np.uint8) for rgb in ((255, 0, 0), (0, 166, 0), (0, 204, 242)))
    sheet = input_truth_prediction(red, green, blue, legend=[211], title="A scene")
    (rows, columns), (top_rows, top_columns), (low_rows, low_columns) = (
        np.nonzero((sheet == image[0, 0]).all(axis=-1)) for image in (red, green, blue)
    )
    assert columns.max() < top_columns.min() == low_columns.min()
    assert top_rows.max() < low_rows.min()
    assert (rows.min(), rows.max()) == (top_rows.min(), low_rows.max())
    assert (sheet == (255, 255, 168)).all(axis=-1).any()
