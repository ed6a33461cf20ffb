"""What every test may use: the real data where they are, and a deployment over simulated scenes."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.product import Product
from earthsignature_assets.resources.settings import Settings
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, serve_files, serve_stac, simulate_scene

REAL_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
DAY = dt.date(2026, 5, 1)
MODEL = ModelVersion("corine-unet", 1)
CLEAR, CLOUDY = SceneKey(DAY, 22, "32TQM"), SceneKey(DAY, 22, "33TUG")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scenes and items; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data are not beside this checkout (../shared/data)")
    return REAL_DATA


@dataclass(frozen=True)
class Deployment:
    """A home whose one day has been discovered and whose one clear scene has been published.

    Over a real STAC API and real HTTP on loopback, by a real Dagster instance; made once for all tests.
    """

    settings: Settings
    instance: dg.DagsterInstance
    chain: Chain
    workspace: Workspace
    scenes: dict[SceneKey, SimulatedScene]
    product: Product


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    home = tmp_path_factory.mktemp("home")
    with serve_files(home / "simulated") as base_url:
        scenes = {
            key: simulate_scene(
                SceneRecipe(key, size=320, cloud_cover=cloud, swath_edge=edge), home / "simulated", base_url
            )
            for key, cloud, edge in ((CLEAR, 0.1, 0.3), (CLOUDY, 0.9, 0.0))
        }
        with serve_stac([scene.item_path for scene in scenes.values()]) as stac_api, open_instance(home) as instance:
            settings = Settings(home=home, stac_api=stac_api, area="32TQM, 33TUG, 31TGJ")
            chain = Chain(settings, instance)
            chain.discover(DAY)
            chain.fetch(CLEAR)
            product = chain.segment(CLEAR, MODEL)
            yield Deployment(settings, instance, chain, Workspace(home=str(home)), scenes, product)
