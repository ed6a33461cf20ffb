"""`earthsignature missing`: missing days and products, and their making."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dagster as dg
from rich.console import Console
from rich.table import Table

from earthsignature_assets.assets.clear_scenes import clear_scenes
from earthsignature_assets.assets.land_cover_product import land_cover_product
from earthsignature_assets.cli.chain import Chain, RunFailedError, open_instance
from earthsignature_assets.cli.options import MOST_LINES
from earthsignature_assets.errors import InvalidKeyError
from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.partitions import model_versions, scene_model_key, scenes
from earthsignature_assets.system.settings import Settings


@dataclass(frozen=True)
class Missing:
    """Missing days and products of a deployment, newest first.

    Attributes:
        days: days without verdicts between the first day with verdicts and today.
        products: scene × model versions without a published product.
        unreadable: invalid partition keys, which were added by hand.
    """

    days: tuple[dt.date, ...]
    products: tuple[tuple[SceneKey, ModelVersion], ...]
    unreadable: tuple[str, ...]


def find_missing(instance: dg.DagsterInstance, today: dt.date, part: str, model: ModelVersion | None) -> Missing:
    """Compare the partitions with the materialisations.

    Args:
        instance: the Dagster instance.
        today: the current day (UTC).
        part: text that the key of a scene must contain.
        model: the model version; None for each active one.
    """
    unreadable = []
    found_scenes, found_models = list[SceneKey](), list[ModelVersion]()
    for text in instance.get_dynamic_partitions(str(scenes.name)):
        try:
            found_scenes.append(SceneKey.parse(text))
        except InvalidKeyError:
            unreadable.append(text)
    for text in instance.get_dynamic_partitions(str(model_versions.name)):
        try:
            found_models.append(ModelVersion.parse(text))
        except InvalidKeyError:
            unreadable.append(text)
    published = instance.get_materialized_partitions(land_cover_product.key)
    wanted = [model] if model else sorted(found_models)
    products = [
        (scene, version)
        for scene in sorted(found_scenes, reverse=True)
        for version in wanted
        if part in str(scene) and str(scene_model_key(scene, version)) not in published
    ]
    return Missing(tuple(_unjudged(instance, today)), tuple(products), tuple(unreadable))


def report_missing(settings: Settings, console: Console, part: str, model: ModelVersion | None, resume: bool) -> None:
    """Print the missing days and products; with `resume`, make them in this process, one after another.

    Raises:
        RunFailedError: a day or product could not be made; the others were.
    """
    with open_instance(settings.home) as instance:
        lacking = find_missing(instance, dt.datetime.now(dt.UTC).date(), part, model)
        _print(lacking, console)
        if not resume:
            return
        chain, failed = Chain(settings, instance), 0
        for day in lacking.days:
            failed += not _made(console, f"discovering {day}", partial(chain.discover, day))
        if lacking.days:
            lacking = find_missing(instance, dt.datetime.now(dt.UTC).date(), part, model)
        for number, (scene, version) in enumerate(lacking.products, 1):
            named = f"{number} of {len(lacking.products)}: {scene} by {version}"
            failed += not _made(console, named, partial(chain.segment, scene, version))
        if failed:
            raise RunFailedError(f"{failed} runs failed: the reasons are above")


def _unjudged(instance: dg.DagsterInstance, today: dt.date) -> list[dt.date]:
    judged = instance.get_materialized_partitions(clear_scenes.key)
    if not judged:
        return []
    first = dt.date.fromisoformat(min(judged))
    days = [today - dt.timedelta(days=n) for n in range(1, (today - first).days)]
    return [day for day in days if day.isoformat() not in judged]


def _print(lacking: Missing, console: Console) -> None:
    if lacking.unreadable:
        console.print(f"[yellow]Invalid partitions, remove them:[/] {', '.join(lacking.unreadable)}")
    if lacking.days:
        console.print(
            f"{len(lacking.days)} days without verdicts, the newest {lacking.days[0]}, the oldest {lacking.days[-1]}"
        )
    table = Table("scene", "model version", title=f"{len(lacking.products)} products are missing")
    for scene, version in lacking.products[:MOST_LINES]:
        table.add_row(str(scene), str(version))
    if lacking.products:
        console.print(table)
        if len(lacking.products) > MOST_LINES:
            console.print(f"… and {len(lacking.products) - MOST_LINES} more")
    if not lacking.products and not lacking.days:
        console.print("Nothing is missing")


def _made(console: Console, what: str, make: Callable[[], object]) -> bool:
    try:
        with console.status(what):
            make()
    except RunFailedError as error:
        console.print(f"[red]failed[/] {what}: {error}")
        return False
    console.print(f"made {what}")
    return True
