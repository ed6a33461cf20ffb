"""A deployment over simulated scenes: real STAC API, real HTTP, real Dagster instance; made once."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest

from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.products.product import Product
from earthsignature_assets.resources.settings import Settings
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.simulator import SceneRecipe, SimulatedScene, serve_files, serve_stac, simulate_scene

DAY = dt.date(2026, 5, 1)
MODEL = ModelVersion("corine-unet", 1)
CLEAR, CLOUDY = SceneKey(DAY, 22, "32TQM"), SceneKey(DAY, 22, "33TUG")


@dataclass(frozen=True)
class Deployment:
    """A home whose one day has been discovered and whose one clear scene has been published."""

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
