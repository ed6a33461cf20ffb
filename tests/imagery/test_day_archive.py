import copy
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from earthsignature_assets.imagery.day_archive import Added, DayArchive
from earthsignature_assets.simulator import SimulatedScene

DAY = date(2026, 5, 1)


def version(item: dict[str, Any], updated: str, title: str) -> dict[str, Any]:
    made = copy.deepcopy(item)
    made["properties"] |= {"updated": updated, "title": title}
    return made


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
