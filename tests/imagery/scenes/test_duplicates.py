import dataclasses
import datetime as dt

from shapely import box

from earthsignature_assets.imagery.scenes.duplicates import group_scenes
from earthsignature_assets.imagery.scenes.scene import Scene, SceneItem

UTC = dt.UTC


def remade(item: SceneItem, item_id: str, **changes: object) -> SceneItem:
    return dataclasses.replace(item, item_id=item_id, **changes)  # type: ignore[arg-type]


def test_the_highest_baseline_wins_as_numbers_not_as_text(scene: Scene) -> None:
    item = scene.parts[0]
    old = remade(item, "old", baseline=(2, 5))
    new = remade(item, "new", baseline=(5, 9))
    newest = remade(item, "newest", baseline=(5, 10))
    (grouped,) = group_scenes([new, old, newest])
    assert [part.item_id for part in grouped.parts] == ["newest"]
    assert set(grouped.superseded) == {"new", "old"}


def test_the_latest_processing_of_a_baseline_wins(scene: Scene) -> None:
    early = remade(scene.parts[0], "early")
    late = remade(scene.parts[0], "late", generated_at=early.generated_at + dt.timedelta(days=30))
    (grouped,) = group_scenes([late, early])
    assert [part.item_id for part in grouped.parts] == ["late"]
    assert grouped.superseded == ("early",)


def test_the_parts_of_a_split_datatake_stay_together(scene: Scene) -> None:
    north = remade(scene.parts[0], "north", footprint=box(11, 42.5, 12, 43))
    south = remade(scene.parts[0], "south", footprint=box(11, 42, 12, 42.51))
    (grouped,) = group_scenes([south, north])
    assert {part.item_id for part in grouped.parts} == {"north", "south"}
    assert grouped.superseded == ()
    assert grouped.footprint.equals(box(11, 42, 12, 43))


def test_two_orbits_of_one_day_are_two_scenes(scene: Scene) -> None:
    other = remade(scene.parts[0], "other", key=dataclasses.replace(scene.key, relative_orbit=65))
    assert [str(found.key) for found in group_scenes([other, scene.parts[0]])] == [
        "2026-05-01_R022_T32TQM",
        "2026-05-01_R065_T32TQM",
    ]


def test_parts_that_share_a_few_scan_lines_fill_each_other(scene: Scene) -> None:
    whole = scene.parts[0]
    west, south, east, north = whole.footprint.bounds
    middle, lines = (south + north) / 2, (north - south) * 0.01
    upper = remade(whole, "upper", footprint=whole.footprint.intersection(box(west, middle - lines, east, north)))
    lower = remade(whole, "lower", footprint=whole.footprint.intersection(box(west, south, east, middle + lines)))
    again = remade(lower, "lower again", generated_at=lower.generated_at + dt.timedelta(hours=1))
    (grouped,) = group_scenes([lower, upper, again])
    assert {part.item_id for part in grouped.parts} == {"upper", "lower again"}
    assert grouped.superseded == ("lower",)
    assert grouped.footprint.symmetric_difference(whole.footprint).area < 1e-9


def test_parts_whose_footprints_are_the_whole_tile_are_told_by_datastrip_and_pixels(scene: Scene) -> None:
    whole = scene.parts[0]
    north = remade(whole, "north", datastrip="20260501T101126", no_data_percent=50.0)
    south = remade(whole, "south", datastrip="20260501T101426", no_data_percent=48.0)
    again = remade(south, "south again", generated_at=south.generated_at + dt.timedelta(hours=1))
    (grouped,) = group_scenes([north, south, again])
    assert {part.item_id for part in grouped.parts} == {"north", "south again"}
    assert grouped.superseded == ("south",)
    full = remade(south, "full", no_data_percent=0.0)
    assert [scene.superseded for scene in group_scenes([north, full])] == [("full",)]


def test_without_datastrips_the_times_tell_parts_from_duplicates(scene: Scene) -> None:
    north = remade(scene.parts[0], "north", datastrip="", no_data_percent=None)
    south = remade(north, "south", sensed_at=north.sensed_at + dt.timedelta(seconds=3))
    assert [len(found.parts) for found in group_scenes([north, south])] == [2]
    assert [len(found.parts) for found in group_scenes([north, remade(north, "again")])] == [1]
