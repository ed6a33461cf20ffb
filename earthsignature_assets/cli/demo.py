"""`earthsignature demo`: the whole chain on simulated scenes, from a STAC search to an answered gRPC call."""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rich.console import Console
from rich.table import Table

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.cli.service import service_process
from earthsignature_assets.errors import ServiceAnswerError
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.keys import DEFAULT_MODEL, SceneKey, relative_orbit_of
from earthsignature_assets.nomenclature import CODES, class_of
from earthsignature_assets.pictures import Panel, land_cover, png, side_by_side, true_colour
from earthsignature_assets.products.product import Product
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, serve_files, serve_stac, simulate_scene
from earthsignature_assets.system.settings import Settings
from earthsignature_grpc.client import EarthSignatureClient, PolygonProduct, ProductName, RasterProduct

DAYS = (dt.date(2026, 5, 1), dt.date(2026, 5, 3))
TILES = ("32TQM", "33TUG")


@dataclass(frozen=True)
class Question:
    """A filter in words and as arguments of the client, and the expected products (None: any one)."""

    named: str
    filters: dict[str, Any]
    expected: frozenset[str] | None
    ids: bool = True


def recipes(size: int) -> list[SceneRecipe]:
    """Return the recipes of the demo's scenes: two tiles on two days, the last one too cloudy to be segmented."""
    keys = [SceneKey(day, orbit, tile) for day, orbit in zip(DAYS, (22, 50), strict=True) for tile in TILES]
    clouds, edges = (0.06, 0.12, 0.03, 0.85), (0.2, 0.0, 0.0, 0.0)
    return [
        SceneRecipe(key, size=size, cloud_cover=cloud, swath_edge=edge)
        for key, cloud, edge in zip(keys, clouds, edges, strict=True)
    ]


def run_demo(settings: Settings, size: int, console: Console) -> None:
    """Simulate, discover, segment, publish, serve, query and draw the demo's scenes.

    Args:
        settings: settings of the deployment; the demo replaces the STAC API and the area.
        size: rows and columns of each scene in pixels of 10 m.
        console: console for the progress and the result.

    Raises:
        EarthSignatureError: a step failed.
    """
    started = time.monotonic()
    home = settings.home
    folder = home / "simulated"
    with serve_files(folder) as base_url:
        with _step(console, f"Simulating {len(TILES) * len(DAYS)} scenes of {size} × {size} pixels"):
            scenes = [simulate_scene(recipe, folder, base_url) for recipe in recipes(size)]
        with serve_stac([scene.item_path for scene in scenes]) as stac_api, open_instance(home) as instance:
            chain = Chain(replace(settings, stac_api=stac_api, area=",".join(TILES)), instance)
            published = _materialise(chain, console)
    with service_process(home / "store", home / "service.log") as address:
        console.print(f"[bold]Serving[/] over gRPC on {address}, in a separate process")
        answers, rasters = ask(address, published)
    console.print(answers)
    picture = draw(home, scenes, rasters, console)
    console.print(f"[bold]Done[/] in {time.monotonic() - started:.0f} s. One picture of it: [bold]{picture}[/]")
    console.print("Open the Dagster UI on this home:           [bold]make ui[/]")
    console.print(f"Serve it to your clients:                   [bold]earthsignature serve --home {home}[/]")
    console.print(
        "Run a real tile from Earth Search:          "
        "[bold]earthsignature run --tile 32TQM --date 2025-06-21 --provider earth-search[/]"
    )


def _materialise(chain: Chain, console: Console) -> list[Product]:
    published = []
    for day in DAYS:
        with _step(console, f"Discovering {day}"):
            chain.discover(day)
        for scene in chain.scenes(day):
            with _step(console, f"Fetching and splitting {scene}"):
                chain.fetch(scene)
            with _step(console, f"Segmenting and publishing {scene} by {DEFAULT_MODEL}"):
                published.append(chain.segment(scene, DEFAULT_MODEL))
    return published


def questions(published: Sequence[Product]) -> list[Question]:
    """Return every filter alone and all together, with the expected products."""
    first = min(published, key=lambda product: (product.sensed_at, product.product_id))
    day = first.sensed_at.date()
    rarest = min(CODES, key=lambda code: sum(code in product.class_codes for product in published) or len(CODES))
    middle = first.footprint.representative_point()
    area = middle.buffer(0.01).envelope

    def matching(test: Callable[[Product], bool]) -> frozenset[str]:
        return frozenset(product.product_id for product in published if test(product))

    return [
        Question("no filter", {}, frozenset(product.product_id for product in published)),
        Question(
            f"wkt: 2 km around {middle.y:.2f} N {middle.x:.2f} E",
            {"area": area},
            matching(lambda product: product.footprint.intersects(area)),
        ),
        Question(
            f"dates: {day}",
            {"start": day, "end": day},
            matching(lambda product: product.sensed_at.date() == day),
        ),
        Question(
            f"category: {class_of(rarest).name}",
            {"categories": [rarest]},
            matching(lambda product: rarest in product.class_codes),
        ),
        Question("product id", {"product_ids": [first.product_id]}, frozenset({first.product_id}), ids=False),
        Question("at most one", {"limit": 1}, None, ids=False),
        Question(
            "wkt, dates and category",
            {"area": area, "start": day, "end": day, "categories": [rarest]},
            matching(
                lambda product: (
                    product.footprint.intersects(area)
                    and product.sensed_at.date() == day
                    and rarest in product.class_codes
                )
            ),
        ),
        Question("a day without images", {"start": dt.date(2020, 1, 1), "end": dt.date(2020, 1, 1)}, frozenset()),
    ]


def ask(address: str, published: Sequence[Product]) -> tuple[Table, list[RasterProduct]]:
    """Query both APIs with every filter; return a table of the answers, and the rasters of all products.

    Raises:
        ServiceAnswerError: an answer does not have the expected products.
    """
    table = Table(title="Answers of the service: products, and the time until the last one")
    for column in ("filter", "v1 ids", "v1 rasters", "v2 ids", "v2 polygons"):
        table.add_column(column, justify="left" if column == "filter" else "right")
    with EarthSignatureClient(address) as client:
        for question in questions(published):
            cells = []
            for call, only_filters in (
                (client.product_ids, True),
                (client.segmentations_v1, False),
                (client.product_features_v2, True),
                (client.polygons_v2, False),
            ):
                if only_filters and not question.ids:
                    cells.append("")
                    continue
                began = time.monotonic()
                found = [_product_id(answer) for answer in call(**question.filters)]
                seconds = time.monotonic() - began
                wrong = len(found) != 1 if question.expected is None else frozenset(found) != question.expected
                if wrong or len(set(found)) != len(found):
                    raise ServiceAnswerError(f"{call.__name__} with {question.named} answered {found}")
                cells.append(f"{len(found)}  {seconds * 1000:5.0f} ms")
            table.add_row(question.named, *cells)
        rasters = list(client.segmentations_v1())
    return table, rasters


def _product_id(answer: ProductName | PolygonProduct) -> str:
    if isinstance(answer, ProductName):
        return answer.product_id
    frame = answer.frame()
    return str(frame.attrs["product_id"] if "product_id" in frame.attrs else frame["product_id"].iloc[0])


def draw(home: Path, scenes: Sequence[SimulatedScene], rasters: Sequence[RasterProduct], console: Console) -> Path:
    """Draw input, truth and prediction of each product of the API; return the path of the picture."""
    workspace = Workspace(home=str(home))
    truth_of = {scene.item["properties"]["s2:product_uri"].removesuffix(".SAFE"): scene.truth for scene in scenes}
    sheets = []
    for raster in sorted(rasters, key=lambda raster: (raster.acquired_on, raster.product_id)):
        key = SceneKey(raster.acquired_on, relative_orbit_of(raster.product_id), raster.product_id.split("_")[5])
        patches = PatchStore(workspace.patches(key))
        predicted = raster.land_cover_array().to_numpy()
        with rasterio.open(truth_of[raster.product_id]) as dataset:
            truth = dataset.read(1)
        clear = (predicted > 0) & ~patches.unreliable()
        agreement = 100 * float(np.mean(predicted[clear] == truth[clear]))
        overview, step = patches.overview(), patches.overview_step
        red, green, blue = (overview[S2_BANDS.index(band)] for band in ("B04", "B03", "B02"))
        codes = sorted({int(code) for code in np.unique(truth) if code} | {int(c) for c in np.unique(predicted) if c})
        title = f"{key}: {agreement:.0f} % of the clear pixels agree with the simulated truth"
        console.print(title)
        sheets.append(
            side_by_side(
                [
                    Panel("input", true_colour(red, green, blue)),
                    Panel("truth", land_cover(truth[::step, ::step])),
                    Panel(f"prediction by {raster.model}", land_cover(predicted[::step, ::step])),
                ],
                legend=codes,
                title=title,
            )
        )
    path = home / "demo.png"
    width = max(sheet.shape[1] for sheet in sheets)
    rows = [np.pad(sheet, ((0, 0), (0, width - sheet.shape[1]), (0, 0)), constant_values=255) for sheet in sheets]
    path.write_bytes(png(np.vstack(rows)))
    return path


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    """Show the current step, then print its duration."""
    began = time.monotonic()
    with console.status(what):
        yield
    console.print(f"{what} [dim]{time.monotonic() - began:.1f} s[/]")
