from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.draft import Draft
from tests.product_drafts import MODEL, make_draft, swath, tile_part


@pytest.fixture(scope="session")
def finished_drafts(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Draft]:
    """Make drafts, each kind once for all tests, which must not change the files."""
    made: dict[tuple[ModelVersion, int], Draft] = {}

    def make(model: ModelVersion = MODEL, seed: int = 0) -> Draft:
        if (model, seed) not in made:
            made[model, seed] = make_draft(tmp_path_factory.mktemp("draft"), model, seed)
        return made[model, seed]

    return make


@pytest.fixture
def new_draft() -> Callable[..., Draft]:
    """Make a separate draft in a folder."""
    return make_draft


@pytest.fixture(params=["sqlite", pytest.param("postgis", marks=pytest.mark.services)])
def new_catalogue_location(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path | str]:
    """Return the location of a new catalogue at each call, once for each kind of database."""
    if request.param == "postgis":
        new_schema: Callable[[], str] = request.getfixturevalue("new_postgis_schema")
        return new_schema
    return lambda: tmp_path_factory.mktemp("catalogue") / "catalogue.sqlite"


@pytest.fixture(scope="session")
def swath_codes() -> Callable[..., npt.NDArray[np.uint16]]:
    """Make a land-cover raster with a slanted no-data edge, (height, width)."""
    return swath


@pytest.fixture(scope="session")
def part_of_tile() -> Callable[..., PixelGrid]:
    """Make the grid of a tile's upper-left corner, with the given rows and columns."""
    return tile_part
