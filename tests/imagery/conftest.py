"""Simulated scenes for the imagery tests, made once."""

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.imagery.providers.provider import PROVIDERS, Provider
from earthsignature_assets.imagery.scenes.scene import Scene, scene_item
from earthsignature_assets.keys import SceneKey
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, simulate_scene

DAY = dt.date(2026, 5, 1)


@pytest.fixture(scope="session")
def c1() -> Provider:
    return PROVIDERS["earth-search"]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedScene:
    recipe = SceneRecipe(SceneKey(DAY, 22, "32TQM"), size=600, seed=3, cloud_cover=0.2, swath_edge=0.25)
    return simulate_scene(recipe, tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def scene(simulated: SimulatedScene, c1: Provider) -> Scene:
    return Scene((scene_item(simulated.item, c1, S2_BANDS),))


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try remotes three times without a pause."""
    quick = dataclasses.replace(remote_policy.POLICY, tries=3, first_pause_s=0.0)
    monkeypatch.setattr(remote_policy, "POLICY", quick)


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")
