"""The latest verdicts on the scenes of a day."""

import datetime as dt
from functools import cache

import dagster as dg

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.keys import SceneKey


class Judgements:
    """The latest materialisations of `clear_scenes`, cached by day for one tick."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._withdrawn = cache(self._withdrawn_on)

    def withdrawn(self, key: SceneKey) -> bool:
        """Return whether a scene was accepted before and is refused now, for example after a reprocessing."""
        return str(key) in self._withdrawn(key.day)

    def _withdrawn_on(self, day: dt.date) -> frozenset[str]:
        wanted = dg.AssetRecordsFilter(clear_scenes.key, asset_partitions=[day.isoformat()])
        for record in self._instance.fetch_materializations(wanted, limit=1).records:
            metadata = record.asset_materialization.metadata if record.asset_materialization else {}
            if withdrawn := metadata.get("withdrawn"):
                return frozenset(map(str, withdrawn.value))  # type: ignore[arg-type]
        return frozenset()
