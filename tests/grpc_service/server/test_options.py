"""Fields added after 2022, from number 20 up: crop, resolution, no cloud mask, selected polygons, links."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import shapely
from pyproj import Transformer
from rasterio.io import MemoryFile

from earthsignature_assets.errors import QueryError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_grpc.reading.selections import PolygonSelection, raster_selection
from earthsignature_grpc.wire.descriptors import wire_class
from earthsignature_grpc.wire.geobuf_reader import read_frame
from tests.grpc_service.conftest import StartServer
from tests.product_drafts import make_draft
from tests.raw_calls import unary_stream

V1 = "/snapearth.api.v1.DatabaseProductService/ListSegmentation"
V2 = "/snapearth.api.v2.DatabaseProductService/ListSegmentation"
URL = "https://products.example/store"


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """A product with every file, and its codes."""
    return make_draft(tmp_path_factory.mktemp("draft"), size=(161, 200))


@pytest.fixture(scope="module")
def ask(
    draft: Draft, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """Return a function that requests the one product of a server, with fields, and returns the only answer."""
    root = tmp_path_factory.mktemp("options") / "store"
    ProductStore(root).publish(draft)
    with start_server(root, "--public-url", URL + "/") as (address, _), grpc.insecure_channel(address) as channel:

        def call(method: str, **fields: Any) -> Any:
            package = method.split("/")[1].rpartition(".")[0]
            request = wire_class(f"{package}.ListSegmentationRequest")(**fields).SerializeToString()
            (answer,) = unary_stream(channel, method)(request, timeout=60)
            return wire_class(f"{package}.SegmentationResponse").FromString(answer)

        yield call


def _raster(content: bytes) -> tuple[np.ndarray, PixelGrid, dict[str, str]]:
    with MemoryFile(content) as file, file.open() as raster:
        transform = raster.transform
        grid = PixelGrid(raster.crs.to_epsg(), transform.c, transform.f, transform.a, raster.width, raster.height)
        return raster.read(1), grid, raster.tags(1)


def _square(grid: PixelGrid, columns: tuple[float, float], rows: tuple[float, float]) -> shapely.Polygon:
    """A square of pixels in EPSG:4326."""
    project = Transformer.from_crs(grid.epsg, 4326, always_xy=True)
    box = shapely.box(
        grid.left_m + columns[0] * 10,
        grid.top_m - rows[1] * 10,
        grid.left_m + columns[1] * 10,
        grid.top_m - rows[0] * 10,
    )
    return shapely.transform(box, lambda xy: np.column_stack(project.transform(xy[:, 0], xy[:, 1])))


def test_a_crop_holds_the_same_pixels_and_nothing_outside(ask: Callable[..., Any], draft: Draft) -> None:
    whole, grid, names = _raster(draft.path(Asset.LAND_COVER).read_bytes())
    answer = ask(V1, wkt=_square(grid, (40.5, 81.5), (21.5, 61.5)).wkt, crop=True)
    codes, part, part_names = _raster(answer.segmentation)
    column, row = round((part.left_m - grid.left_m) / 10), round((grid.top_m - part.top_m) / 10)
    assert (part.epsg, part.resolution_m, column % 2, row % 2) == (grid.epsg, 10.0, 0, 0)
    assert part_names == names
    covered = whole[row : row + part.height, column : column + part.width]
    assert np.array_equal(codes[codes != 0], covered[codes != 0])
    # Every pixel inside the square is kept; its edges are slightly tilted in UTM, so skip a pixel.
    assert np.array_equal(codes[2:40, 3:40], covered[2:40, 3:40])
    assert (codes[0] == 0).all()  # row 20, which the square does not touch
    cloud, mask_grid, _ = _raster(answer.cloud_mask)
    assert (mask_grid.left_m, mask_grid.top_m, mask_grid.resolution_m) == (part.left_m, part.top_m, 20.0)
    stored, _, _ = _raster(draft.path(Asset.CLOUD_MASK).read_bytes())
    under = stored[row // 2 : row // 2 + mask_grid.height, column // 2 : column // 2 + mask_grid.width]
    assert np.array_equal(cloud[2:-2, 2:-2], under[2:-2, 2:-2])


def test_a_triangle_leaves_the_rest_of_its_box_empty(ask: Callable[..., Any], draft: Draft) -> None:
    _, grid, _ = _raster(draft.path(Asset.LAND_COVER).read_bytes())
    corners = shapely.get_coordinates(_square(grid, (60, 140), (60, 140)))
    codes, _, _ = _raster(ask(V1, wkt=shapely.Polygon(corners[[0, 1, 2]]).wkt, crop=True).segmentation)
    assert 0.4 < np.count_nonzero(codes) / codes.size < 0.6


@pytest.mark.parametrize("resolution", [20, 30, 60, 100])
def test_coarser_pixels_have_the_most_frequent_class(ask: Callable[..., Any], draft: Draft, resolution: int) -> None:
    whole, grid, names = _raster(draft.path(Asset.LAND_COVER).read_bytes())
    answer = ask(V1, resolution_m=resolution)
    codes, coarse, coarse_names = _raster(answer.segmentation)
    factor = resolution // 10
    assert (coarse.left_m, coarse.top_m, coarse.resolution_m) == (grid.left_m, grid.top_m, resolution)
    assert coarse.shape == (-(-grid.height // factor), -(-grid.width // factor))
    assert coarse_names == names
    full = whole[: whole.shape[0] // factor * factor, : whole.shape[1] // factor * factor]
    blocks = full.reshape(full.shape[0] // factor, factor, -1, factor).swapaxes(1, 2).reshape(-1, factor**2)
    inner = codes[: full.shape[0] // factor, : full.shape[1] // factor].ravel()
    for block, code in zip(blocks, inner, strict=True):
        present, counts = np.unique(block[block != 0], return_counts=True)
        if not len(present):
            assert code == 0
        elif code != present[counts.argmax()]:
            assert counts[present == code] == counts.max()
    assert answer.cloud_mask == draft.path(Asset.CLOUD_MASK).read_bytes()


def test_the_cloud_mask_can_be_left_out(ask: Callable[..., Any], draft: Draft) -> None:
    answer = ask(V1, without_cloud_mask=True)
    assert answer.cloud_mask == b""
    assert answer.segmentation == draft.path(Asset.LAND_COVER).read_bytes()


def test_answers_link_to_the_files(ask: Callable[..., Any], draft: Draft) -> None:
    answer = ask(V1)
    assert answer.segmentation == draft.path(Asset.LAND_COVER).read_bytes()
    folder = f"{URL}/products/{draft.model}/{draft.scene}/"
    assert answer.item_url.startswith(folder)
    assert answer.item_url.endswith("/item.json")
    assert answer.quicklook == answer.item_url.replace("item.json", "thumbnail.png")
    assert ask(V2).item_url == answer.item_url


def test_polygons_are_chosen_by_class_and_area(ask: Callable[..., Any], draft: Draft) -> None:
    whole = read_frame(draft.path(Asset.GEOBUF).read_bytes())
    least = float(whole["area_m2"].median())
    answer = ask(V2, polygon_categories=[311, 312], min_area_m2=least)
    part = read_frame(answer.segmentation.SerializeToString())
    expected = whole[whole["code"].isin([311, 312]) & (whole["area_m2"] >= least)]
    assert len(expected)
    assert part.geometry.tolist() == expected.geometry.tolist()
    for column in ("code", "name", "area_m2", "mean_confidence"):
        assert part[column].tolist() == expected[column].tolist()
    assert part.attrs == whole.attrs
    assert len(read_frame(ask(V2, polygon_categories=[523]).segmentation.SerializeToString())) == 0
    assert ask(V2).segmentation.SerializeToString() == draft.path(Asset.GEOBUF).read_bytes()


def test_simplified_polygons_still_share_their_borders(ask: Callable[..., Any], draft: Draft) -> None:
    whole = read_frame(draft.path(Asset.GEOBUF).read_bytes())
    simple = read_frame(ask(V2, tolerance_m=60.0).segmentation.SerializeToString())
    assert len(simple) == len(whole)
    vertices = [shapely.get_num_coordinates(frame.geometry.to_numpy()).sum() for frame in (whole, simple)]
    assert vertices[1] < 0.8 * vertices[0]
    assert shapely.coverage_is_valid(simple.geometry.to_numpy())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ((None, True, None, None), "crop"),
        ((None, None, 15, None), "resolution_m"),
        ((None, None, 2**31, None), "resolution_m"),
    ],
)
def test_invalid_raster_selections_are_refused(fields: tuple[Any, Any, Any, Any], field: str) -> None:
    with pytest.raises(QueryError) as caught:
        raster_selection(*fields)
    assert caught.value.field == field


@pytest.mark.parametrize("fields", [{"min_area_m2": -1.0}, {"tolerance_m": float("nan")}, {"tolerance_m": 1001.0}])
def test_invalid_polygon_selections_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(QueryError) as caught:
        PolygonSelection(**fields)
    assert caught.value.field in fields
