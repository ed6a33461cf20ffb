import datetime as dt
import os
from pathlib import Path

import pytest

from earthsignature_assets.errors import InvalidKeyError, StoreUnavailableError
from earthsignature_assets.imagery.patches.patch_retention import (
    RetentionPolicy,
    TransientFolder,
    past_their_time,
    remove_folder,
    stored_folders,
)
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.imagery.patches.patch_writing import write_patches
from earthsignature_assets.imagery.scenes.scene import Scene
from earthsignature_assets.sentinel2 import S2_BANDS

NOW = dt.datetime(2026, 5, 20, 3, tzinfo=dt.UTC)


def store(name: str, hours_old: float, gigabytes: float = 1.0) -> TransientFolder:
    return TransientFolder(Path(name), NOW - dt.timedelta(hours=hours_old), int(gigabytes * 1e9))


def names(stores: list[TransientFolder]) -> list[str]:
    return [str(one.path) for one in stores]


def test_stores_past_the_age_are_removed_and_no_younger_ones() -> None:
    stores = [store("day", 24), store("eight", 8 * 24), store("almost", 7 * 24 - 1), store("ten", 10 * 24)]
    assert names(past_their_time(stores, RetentionPolicy(7, 200), NOW)) == ["ten", "eight"]


def test_over_the_budget_the_oldest_are_removed_until_the_rest_fits() -> None:
    stores = [store("b", 48, 2), store("c", 24, 2), store("a", 72, 2), store("d", 12, 2)]
    assert names(past_their_time(stores, RetentionPolicy(7, 4), NOW)) == ["a", "b"]
    assert names(past_their_time(stores, RetentionPolicy(7, 8), NOW)) == []
    assert names(past_their_time(stores, RetentionPolicy(2.5, 4), NOW)) == ["a", "b"]


def test_stores_being_written_stay_but_count() -> None:
    stores = [store(".x.zarr.0.partial", 0.9, 5), store("old", 30), store("new", 2)]
    assert names(past_their_time(stores, RetentionPolicy(0, 0), NOW)) == ["old", "new"]
    assert names(past_their_time(stores, RetentionPolicy(7, 6), NOW)) == ["old"]


@pytest.mark.parametrize(("days", "gigabytes"), [(-1, 200), (7, -0.5), (float("nan"), 200)])
def test_an_invalid_policy_is_refused(days: float, gigabytes: float) -> None:
    with pytest.raises(InvalidKeyError, match="retention"):
        RetentionPolicy(days, gigabytes)


def test_a_removed_scene_is_fetched_again(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / f"{scene.key}.zarr"
    write_patches(scene, S2_BANDS, path)
    before = PatchStore(path).reflectance(slice(0, 300)).tobytes()
    (measured,) = stored_folders([path, tmp_path / "absent.zarr"])
    assert measured.size_bytes >= PatchStore(path).size_bytes
    assert not measured.quiet(dt.datetime.now(dt.UTC))
    remove_folder(measured)
    assert list(tmp_path.iterdir()) == []
    write_patches(scene, S2_BANDS, path)
    assert PatchStore(path).reflectance(slice(0, 300)).tobytes() == before


def test_the_last_write_anywhere_in_a_store_counts(tmp_path: Path) -> None:
    chunk = tmp_path / "a.zarr" / "reflectance" / "0"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"x" * 1000)
    for entry in (chunk.parent.parent, chunk.parent):
        os.utime(entry, (0, 0))
    os.utime(chunk, (5000, 5000))
    (measured,) = stored_folders([tmp_path / "a.zarr"])
    assert measured.written_at.timestamp() == 5000
    assert measured.size_bytes >= 1000


def test_a_folder_that_vanished_before_its_removal_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"gone\.zarr"):
        remove_folder(TransientFolder(tmp_path / "gone.zarr", NOW, 1))
