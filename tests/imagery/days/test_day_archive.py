import copy
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from shapely.geometry import shape

from earthsignature_assets.imagery.days.day_archive import Added, DayArchive
from earthsignature_assets.simulator import SimulatedScene

DAY = date(2026, 5, 1)


def version(item: dict[str, Any], updated: str, title: str) -> dict[str, Any]:
    made = copy.deepcopy(item)
    made["properties"] |= {"updated": updated, "title": title}
    return made


def test_a_day_is_geoparquet_that_others_read(simulated: SimulatedScene, tmp_path: Path) -> None:
    DayArchive(tmp_path, "earth-search").add_items(DAY, [simulated.item])
    (path,) = tmp_path.rglob("*.parquet")
    assert path.relative_to(tmp_path) == Path("items/earth-search/2026-05-01.parquet")
    table = gpd.read_parquet(path)
    assert (len(table), table.crs, table["id"][0]) == (1, "OGC:CRS84", simulated.item["id"])
    assert table.geometry[0].equals(shape(simulated.item["geometry"]))
    # By the specification of stac-geoparquet, properties are separate columns and times are timestamps.
    assert table["datetime"][0] == pd.Timestamp(simulated.item["properties"]["datetime"]).floor("ms")
    assert table["eo:cloud_cover"][0] == simulated.item["properties"]["eo:cloud_cover"]
    assert table["assets"][0]["red"]["href"] == simulated.item["assets"]["red"]["href"]


@pytest.mark.parametrize("newest_first", [True, False])
def test_an_older_update_never_replaces_a_newer_one(
    simulated: SimulatedScene, tmp_path: Path, newest_first: bool
) -> None:
    old = version(simulated.item, "2026-05-01T23:30:00Z", "old")
    new = version(simulated.item, "2026-05-02T00:10:00.5Z", "new")
    archive = DayArchive(tmp_path, "earth-search")
    first, second = (new, old) if newest_first else (old, new)
    assert archive.add_items(DAY, [first]) == Added(new=1, updated=0)
    assert archive.add_items(DAY, [second]) == Added(new=0, updated=0 if newest_first else 1)
    (kept,) = archive.items(DAY)
    assert kept["properties"]["title"] == "new"
