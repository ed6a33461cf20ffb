import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from earthsignature_assets.errors import NoSuchSceneError
from earthsignature_assets.imagery.days.day_archive import Added, DayArchive
from earthsignature_assets.imagery.days.day_map import draw_day
from earthsignature_assets.imagery.days.scene_verdicts import CloudPolicy, judge, judge_day
from earthsignature_assets.imagery.masks.scene_classification import MASK_SETS, SceneMask
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.scenes.scene import Scene
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, simulate_scene

DAY = dt.date(2026, 5, 1)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> list[SimulatedScene]:
    folder = tmp_path_factory.mktemp("day")
    return [
        simulate_scene(SceneRecipe(SceneKey(DAY, 22, "32TQM"), size=200, cloud_cover=0.05), folder),
        simulate_scene(SceneRecipe(SceneKey(DAY, 22, "33TUG"), size=200, cloud_cover=0.9), folder),
    ]


def test_clear_scenes_pass_and_cloudy_ones_do_not(day: list[SimulatedScene], c1: Provider) -> None:
    verdicts = judge_day([scene.item for scene in day], c1, S2_BANDS, CloudPolicy())
    assert [str(verdict.key) for verdict in verdicts.accepted] == ["2026-05-01_R022_T32TQM"]
    assert "cloud covers" in verdicts.scenes[1][0].reason
    assert verdicts.scenes[1][0].cloud_percent == pytest.approx(90, abs=4)


def test_one_bad_item_does_not_fail_the_day(day: list[SimulatedScene], c1: Provider) -> None:
    bad = json.loads(json.dumps(day[1].item))
    del bad["assets"]["nir"]
    lost = json.loads(json.dumps(day[0].item)) | {"id": "lost"}
    lost["assets"]["scl"]["href"] = "/nowhere/SCL.tif"
    lost["properties"]["grid:code"] = "MGRS-31TGJ"
    lost["properties"]["s2:product_uri"] = lost["properties"]["s2:product_uri"].replace("T32TQM", "T31TGJ")
    verdicts = judge_day([day[0].item, bad, lost], c1, S2_BANDS, CloudPolicy())
    assert [str(verdict.key) for verdict in verdicts.accepted] == ["2026-05-01_R022_T32TQM"]
    assert "B08" in verdicts.unusable[bad["id"]]
    assert [verdict.reason for verdict, _ in verdicts.scenes if "SCL" in verdict.reason]


def test_a_day_is_kept_and_read_back(day: list[SimulatedScene], c1: Provider, tmp_path: Path) -> None:
    archive = DayArchive(tmp_path, c1.name)
    assert archive.items(DAY) == []
    assert archive.add_items(DAY, []) == Added(0, 0)
    assert archive.add_items(DAY, [day[0].item]) == Added(1, 0)
    assert archive.add_items(DAY, [scene.item for scene in day]) == Added(1, 0)
    assert {item["id"] for item in archive.items(DAY)} == {scene.item["id"] for scene in day}
    key = SceneKey(DAY, 22, "33TUG")
    assert archive.scene(key, c1, S2_BANDS).product_id == day[1].item["properties"]["s2:product_uri"][:-5]
    verdicts = judge_day(archive.items(DAY), c1, S2_BANDS, CloudPolicy())
    archive.write_verdicts(DAY, verdicts.scenes)
    assert archive.verdict(key) == verdicts.scenes[1][0]


def test_an_unknown_scene_is_reported_with_the_remedy(c1: Provider, tmp_path: Path) -> None:
    archive, key = DayArchive(tmp_path, c1.name), SceneKey(DAY, 22, "33TUG")
    with pytest.raises(NoSuchSceneError, match="discovered_items"):
        archive.scene(key, c1, S2_BANDS)
    with pytest.raises(NoSuchSceneError, match="clear_scenes"):
        archive.verdict(key)


def test_the_map_shows_accepted_and_refused_scenes(day: list[SimulatedScene], c1: Provider) -> None:
    verdicts = judge_day([scene.item for scene in day], c1, S2_BANDS, CloudPolicy())
    image = draw_day("A day", verdicts.scenes)[60:]  # below the legend
    greener = (image[..., 1].astype(int) - image[..., 0] > 40).sum()
    redder = (image[..., 0].astype(int) - image[..., 1] > 40).sum()
    assert greener > 10
    assert redder > 10


def test_a_day_over_much_of_europe_fits_on_a_screen(day: list[SimulatedScene], c1: Provider) -> None:
    ((verdict, _), *_) = judge_day([scene.item for scene in day], c1, S2_BANDS, CloudPolicy()).scenes
    tall = [(verdict, box(15, south, 16, south + 1)) for south in range(35, 72)]
    height, width, _ = draw_day("A day", tall).shape
    assert width == 720
    assert height <= 900


def test_a_day_across_the_antimeridian_is_drawn_side_by_side(day: list[SimulatedScene], c1: Provider) -> None:
    ((verdict, _), *_) = judge_day([day[0].item], c1, S2_BANDS, CloudPolicy()).scenes
    there = [(verdict, box(178, 65, 179.5, 66)), (verdict, box(179, 65, 180, 66).union(box(-180, 65, -179, 66)))]
    inland = [(verdict, box(18, 65, 19.5, 66)), (verdict, box(19, 65, 21, 66))]
    # The same picture as elsewhere, except for the degrees below it.
    assert np.array_equal(draw_day("A day", there)[60:-40], draw_day("A day", inland)[60:-40])
    around = [(verdict, box(west, 40, west + 1, 41)) for west in range(-180, 180, 30)]
    assert draw_day("A day", around).shape[1] == 720


def figures(cloud: float, valid: float, clear: float) -> SceneMask:
    return SceneMask(np.zeros((1, 1), np.uint8), cloud, 0.0, 0.0, valid, clear)


@pytest.mark.parametrize(
    ("mask", "accepted", "reason"),
    [
        (figures(10, 100, 88), True, "88.0 % of the tile is clear"),
        (figures(61, 100, 30), False, "cloud covers 61.0 %"),
        (figures(0, 4, 4), False, "only 4.0 % of the tile is clear"),
        (figures(0, 0, 0), False, "no data everywhere"),
    ],
)
def test_a_verdict_has_its_reason(scene: Scene, mask: SceneMask, accepted: bool, reason: str) -> None:
    verdict = judge(scene, mask, CloudPolicy())
    assert verdict.accepted is accepted
    assert reason in verdict.reason


def test_scenes_judged_before_are_not_read_again(day: list[SimulatedScene], c1: Provider) -> None:
    items = [json.loads(json.dumps(scene.item)) for scene in day]
    first = judge_day(items, c1, S2_BANDS, CloudPolicy())
    known = [verdict for verdict, _ in first.scenes]
    assert first.read == 2
    for item in items:  # nobody can read them now
        item["assets"]["scl"]["href"] = "/nowhere/SCL.tif"
    again = judge_day(items, c1, S2_BANDS, CloudPolicy(), known)
    assert (again.read, again.renewed, again.scenes) == (0, (), first.scenes)
    # Other thresholds need no pixels; another mask set does.
    assert len(judge_day(items, c1, S2_BANDS, CloudPolicy(max_cloud_percent=100), known).accepted) == 2
    assert judge_day(items, c1, S2_BANDS, CloudPolicy(masks=MASK_SETS["strict"]), known).read == 2


def test_a_reprocessed_scene_is_judged_again_and_named(day: list[SimulatedScene], c1: Provider) -> None:
    known = [verdict for verdict, _ in judge_day([day[0].item], c1, S2_BANDS, CloudPolicy()).scenes]
    newer = json.loads(json.dumps(day[0].item)) | {"id": "reprocessed"}
    newer["properties"]["s2:product_uri"] = newer["properties"]["s2:product_uri"].replace("N0511", "N0512")
    newer["properties"]["s2:processing_baseline"] = "05.12"
    again = judge_day([day[0].item, newer], c1, S2_BANDS, CloudPolicy(), known)
    assert again.superseded == (day[0].item["id"],)
    assert [str(key) for key in again.renewed] == ["2026-05-01_R022_T32TQM"]
    assert again.read == 1
    assert "N0512" in again.accepted[0].source


def test_a_scene_that_could_not_be_read_is_retried(day: list[SimulatedScene], c1: Provider) -> None:
    lost = json.loads(json.dumps(day[0].item))
    lost["assets"]["scl"]["href"] = "/nowhere/SCL.tif"
    known = [verdict for verdict, _ in judge_day([lost], c1, S2_BANDS, CloudPolicy()).scenes]
    assert not known[0].accepted
    assert "SCL" in known[0].reason
    assert judge_day([day[0].item], c1, S2_BANDS, CloudPolicy(), known).accepted
