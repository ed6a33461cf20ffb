import numpy as np
from shapely import box

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.ground_truth.label_scheme import Statement
from earthsignature_assets.ground_truth.truth_raster import TruthRaster, burn

GRID = PixelGrid(32633, 0.0, 60.0, 10.0, 6, 6)
FOREST, BROAD, FIELD, GRASS = Statement(313, 2), Statement(311), Statement(211, 2), Statement(231, 2, 321)


def test_a_pixel_gets_the_statement_of_the_polygon_over_its_centre() -> None:
    truth, contradicting = burn({FOREST: [box(0, 0, 24, 60)], FIELD: [box(26, 0, 60, 60)]}, GRID)
    assert contradicting == 0
    assert truth.codes[0].tolist() == [313, 313, 0, 211, 211, 211]
    assert truth.levels[0].tolist() == [2, 2, 0, 2, 2, 2]
    assert truth.counts() == {FIELD: 18, FOREST: 12}


def test_overlaps_that_contradict_are_void_and_counted() -> None:
    three = {FOREST: [box(0, 0, 40, 60)], FIELD: [box(20, 0, 60, 60)], GRASS: [box(30, 0, 40, 60)]}
    truth, contradicting = burn(three, GRID)
    assert contradicting == 12
    assert truth.codes[3].tolist() == [313, 313, 0, 0, 211, 211]


def test_overlaps_that_agree_do_not_contradict() -> None:
    truth, contradicting = burn({FOREST: [box(0, 0, 40, 60), box(20, 0, 60, 60)]}, GRID)
    assert (contradicting, truth.counts()) == (0, {FOREST: 36})


def test_of_two_sources_the_finer_counts_and_contradictions_are_void() -> None:
    index = np.array([[1, 1, 1, 1, 0, 0]])
    first = TruthRaster.of(index, [FOREST])
    second = TruthRaster.of(np.array([[1, 2, 0, 3, 1, 0]]), [BROAD, FIELD, FOREST])
    for one, other in ((first, second), (second, first)):
        both, contradicting = one.combined(other)
        assert both.codes.tolist() == [[311, 0, 313, 313, 311, 0]]
        assert both.levels.tolist() == [[3, 0, 2, 2, 3, 0]]
        assert contradicting == 1


def test_a_second_meaning_stays_until_a_source_decides() -> None:
    grass = TruthRaster.of(np.array([[1, 1]]), [GRASS])
    both, contradicting = grass.combined(TruthRaster.of(np.array([[1, 0]]), [Statement(321)]))
    assert (both.codes.tolist(), both.also.tolist(), contradicting) == ([[321, 231]], [[0, 321]], 0)


def test_masked_pixels_are_void_in_every_part() -> None:
    truth = TruthRaster.of(np.array([[1, 1]]), [GRASS]).masked(np.array([[True, False]]))
    assert [part.tolist() for part in (truth.codes, truth.levels, truth.also)] == [[[0, 231]], [[0, 2]], [[0, 321]]]
    assert truth.counts() == {GRASS: 1}
