"""`earthsignature run`: the chain on one tile of one day."""

import datetime as dt
import time
from typing import Any

from rich.console import Console

from earthsignature_assets.assets.progress import watched
from earthsignature_assets.cli.chain import Chain, open_instance
from earthsignature_assets.cli.progress import progress_bar
from earthsignature_assets.errors import ItemError, NoSuchSceneError
from earthsignature_assets.imagery.days.discovery import discover_tile
from earthsignature_assets.imagery.providers.provider import Provider
from earthsignature_assets.imagery.scenes.scene import scene_item
from earthsignature_assets.keys import ModelVersion, parse_tile
from earthsignature_assets.products.product import Asset
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.system.settings import Settings


def run_tile(settings: Settings, tile: str, day: dt.date, model: ModelVersion, console: Console) -> None:
    """Discover, fetch, segment and publish every scene of a tile on a day.

    Raises:
        NoSuchSceneError: the provider has no item, or no scene is accepted.
        ItemError: no item of the tile can be used; the message has the reason.
        RunFailedError: a run failed.
        ModelError: the model version is absent.
    """
    InferenceEngine.of(settings).repository.describe(model)
    provider = ImagerySource(
        provider_name=settings.provider, provider_file=settings.provider_file, stac_api=settings.stac_api
    ).provider
    _check_usable(discover_tile(provider, day, tile), provider)
    with open_instance(settings.home) as instance:
        chain = Chain(settings, instance)
        with console.status(f"Discovering {day}"):
            chain.discover(day)
        judged = [verdict for verdict in chain.verdicts(day) if verdict.key.tile == parse_tile(tile)]
        for verdict in judged:
            console.print(f"{verdict.key}: {'accepted' if verdict.accepted else 'refused'}, {verdict.reason}")
        accepted = [verdict.key for verdict in judged if verdict.accepted]
        if not accepted:
            reasons = "; ".join(verdict.reason for verdict in judged) or "no usable item"
            raise NoSuchSceneError(f"nothing to segment of {parse_tile(tile)} on {day}: {reasons}")
        for scene in accepted:
            began = time.monotonic()
            with progress_bar(console, f"Fetching and splitting {scene}") as watcher, watched(watcher):
                chain.fetch(scene)
            fetched = time.monotonic()
            console.print(f"Fetched and split {scene} [dim]{fetched - began:.1f} s[/]")
            with progress_bar(console, f"Segmenting {scene} by {model} and publishing") as watcher, watched(watcher):
                product = chain.segment(scene, model)
            console.print(f"Segmented by {model} and published [dim]{time.monotonic() - fetched:.1f} s[/]")
            console.print(f"Published [bold]{Workspace.of(settings).store.address(product, Asset.ITEM)}[/]")
    console.print(f"Serve it: [bold]earthsignature serve --home {settings.home}[/]")


def _check_usable(items: list[dict[str, Any]], provider: Provider) -> None:
    """Raise the fault of the first item if every item has one."""
    faults = []
    for item in items:
        try:
            scene_item(item, provider, S2_BANDS)
        except ItemError as fault:
            faults.append(fault)
    if len(faults) == len(items):
        raise faults[0]
