"""What each part of the recipe adds: the folds trained once a variant, on the same places with the same seeds.

    python -m earthsignature_assets.models.ablation --data DIR --to FILE [--variant NAME …]

Every variant is judged on patches of regions that its training did not see, and on the polygons of the Hațeg scene,
of which no variant sees anything: another region, season and level than all it has learnt from. Needs PyTorch.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.models.augmentation import STILL
from earthsignature_assets.models.evaluation import judge_polygons
from earthsignature_assets.models.ground_truth import CLASSES, Sample
from earthsignature_assets.models.optimisation import Recipe, predict_any
from earthsignature_assets.models.training import Plan, TrainingData, cross_validate, progress_bars

Variant = Callable[[Recipe, list[Sample]], tuple[Recipe, list[Sample]]]


def _without_supplement(samples: list[Sample]) -> list[Sample]:
    return [replace(sample, weak=None) for sample in samples]


VARIANTS: dict[str, Variant] = {
    "all of it": lambda recipe, samples: (recipe, samples),
    "no other season": lambda recipe, samples: (replace(recipe, season=0.0), samples),
    "no labels of the teacher": lambda recipe, samples: (recipe, _without_supplement(samples)),
    "no other atmosphere": lambda recipe, samples: (replace(recipe, atmosphere=STILL), samples),
    "no averaging": lambda recipe, samples: (replace(recipe, averaging=0.0), samples),
    "as version 1": lambda recipe, samples: (
        replace(recipe, season=0.0, averaging=0.0),
        _without_supplement(samples),
    ),
}
"""What is left out of the recipe, by name. Level-1C patches lose path radiance in all of them."""


@click.command(context_settings={"show_default": True})
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The JSON file to write.")
@click.option("--variant", "chosen", type=click.Choice(list(VARIANTS)), multiple=True, help="By default all of them.")
@click.option("--epochs", type=click.IntRange(1), default=Plan.fold_epochs, help="Epochs of every training.")
@click.option("--folds", type=click.IntRange(2), default=Plan.folds, help="Folds over EuroSAT.")
def main(data: Path, to: Path, chosen: Sequence[str], epochs: int, folds: int) -> None:
    """Train the folds once a variant, and write the figures of each; variants that the file has are kept."""
    try:
        known = TrainingData.read(data)
        found: dict[str, Any] = json.loads(to.read_text(encoding="utf-8")) if to.exists() else {}
        with progress_bars(Console()) as progress:
            for name in chosen or VARIANTS:
                recipe, patches = VARIANTS[name](Recipe(), list(known.patches))
                found[name] = run_variant(known, patches, Plan(recipe, epochs, folds), progress)
                to.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except EarthSignatureError as error:
        raise click.ClickException(str(error)) from error


def run_variant(known: TrainingData, patches: list[Sample], plan: Plan, progress: Any) -> dict[str, Any]:
    """Cross-validate a variant without Hațeg, and judge the networks of all folds by every polygon of Hațeg."""
    table = np.array([0, *(entry.code for entry in CLASSES)], np.uint16)
    codes = [entry.code for entry in CLASSES]
    scenes: list[dict[str, Any]] = []

    def judge(network: Any) -> None:
        numbers = range(1, len(known.scene.labels) + 1)
        predicted = table[predict_any(network, known.scene.reflectance)]
        scenes.append(judge_polygons(known.scene, list(numbers), predicted, codes))

    eurosat, _ = cross_validate(patches, (), plan, progress, judge=judge)
    return {"eurosat": eurosat, "hateg_unseen": scenes}


if __name__ == "__main__":
    main()
