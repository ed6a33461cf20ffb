import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import shapely

from earthsignature_assets.errors import ProductError
from earthsignature_assets.grid import PixelGrid
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.draft import DRAFT_FILE, Draft

BERLIN = dt.timezone(dt.timedelta(hours=2))


@pytest.fixture
def draft(tmp_path: Path, part_of_tile: Callable[..., PixelGrid]) -> Draft:
    grid = part_of_tile(20, 30)
    return Draft(
        folder=tmp_path / "draft",
        product_id="S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516.SAFE",
        scene=SceneKey(dt.date(2026, 5, 1), 65, "32TQM"),
        model=ModelVersion("corine-unet", 1),
        product_type="S2MSI2A",
        sensed_at=dt.datetime(2026, 5, 1, 12, 15, 59, 24000, tzinfo=BERLIN),
        footprint=shapely.MultiPolygon([grid.footprint()]),
        cloud_cover_percent=12.637376,
        source_hrefs=("https://stac.example/items/S2B_32TQM_20260501_0_L2A",),
        grid=grid,
    )


def test_a_saved_draft_is_loaded_by_another_step(draft: Draft) -> None:
    draft.save()
    assert Draft.load(draft.folder) == draft


def test_name_and_time_are_canonical(draft: Draft) -> None:
    assert draft.product_id.endswith("T141516")
    assert draft.sensed_at.isoformat() == "2026-05-01T10:15:59.024000+00:00"


@pytest.mark.parametrize(
    ("fact", "value", "message"),
    [
        ("product_id", "../../etc/passwd", "not a Sentinel-2 product name"),
        ("scene", SceneKey(dt.date(2026, 5, 1), 22, "32TQM"), "another orbit or tile"),
        ("scene", SceneKey(dt.date(2026, 5, 1), 65, "32TQN"), "another orbit or tile"),
        ("product_type", "S2MSI1C", "the name says S2MSI2A"),
        ("sensed_at", dt.datetime(2026, 5, 1, 10), "no time zone"),  # noqa: DTZ001
        ("cloud_cover_percent", float("nan"), "outside 0…100"),
        ("cloud_cover_percent", 100.1, "outside 0…100"),
        ("footprint", shapely.Point(11, 42), "not a filled polygon"),
        ("footprint", shapely.Polygon(), "not a filled polygon"),
        ("footprint", shapely.box(700000, 4700000, 800000, 4800000), "outside longitude"),
    ],
)
def test_contradictions_are_refused(draft: Draft, fact: str, value: Any, message: str) -> None:
    with pytest.raises(ProductError, match=message):
        replace(draft, **{fact: value})


def test_a_folder_without_a_draft_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=f"{DRAFT_FILE} is missing"):
        Draft.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"product_id": 1}'])
def test_an_unreadable_draft_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / DRAFT_FILE).write_text(text)
    with pytest.raises(ProductError, match="cannot be read"):
        Draft.load(tmp_path)


def test_a_folder_that_cannot_be_created_is_named(draft: Draft, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProductError, match="cannot be written"):
        replace(draft, folder=tmp_path / "file" / "draft").save()
