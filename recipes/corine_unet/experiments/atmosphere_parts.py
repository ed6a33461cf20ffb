"""Effect of each part of `Atmosphere`: sixteen short trainings, with each part drawn widely in half of them.

    python -m recipes.corine_unet.experiments.atmosphere_parts train --data DIR --to parts.json
    python -m recipes.corine_unet.experiments.atmosphere_parts effects --parts parts.json

A fractional factorial design of resolution V (Box, Hunter & Hunter 2005, *Statistics for Experimenters*, ch. 6): the
effect of a part is the mean of the eight trainings that draw it narrowly minus that of the eight that draw it widely,
with every other part balanced, so that each figure rests on sixteen seeds instead of two. Half of the trainings hold
out the first fold by place, half the second: the other two folds and the held-out polygons of Hațeg remain for a test.
The first command needs PyTorch: run it in the environment of scripts/install_training.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from earthsignature_assets.training.augmentation import Atmosphere, as_typical_surface
from recipes.corine_unet.atmospheres import AS_VERSION_1, under_one_deviation
from recipes.corine_unet.comparison import polygon_counts
from recipes.corine_unet.data import CLASS_CODES
from recipes.corine_unet.folds import spatial_folds, split_polygons

if TYPE_CHECKING:
    from recipes.corine_unet.cross_validation import TrainingData

PARTS = ("gain", "band gain", "path radiance", "offset", "noise")
_NARROW = 1 / 3
_SHIFTS = 6
_FOLDS = 4
_FIRST_SEED = 1000
_SHARE = 100.0


@dataclass(frozen=True)
class Trial:
    """One training of the design: its narrow parts, held-out fold and seed."""

    narrow: tuple[bool, ...]
    fold: int
    seed: int

    @property
    def atmosphere(self) -> Atmosphere:
        """Spread of version 1, with the narrow parts a third as wide."""
        gain, band_gain, path_radiance, offset, noise = (_NARROW if narrow else 1.0 for narrow in self.narrow)
        wide = AS_VERSION_1
        return Atmosphere(
            gain=wide.gain * gain,
            band_gain=wide.band_gain * band_gain,
            path_radiance=wide.path_radiance * path_radiance,
            offset=wide.offset * offset,
            steady_noise=wide.steady_noise * noise,
            relative_noise=wide.relative_noise * noise,
            uncorrected=wide.uncorrected,
        )


def trials() -> Iterator[Trial]:
    """Yield the sixteen trials: the fifth part is the parity of the other four, the fold that of the first two."""
    for number, narrow in enumerate(product((False, True), repeat=len(PARTS) - 1)):
        yield Trial((*narrow, sum(narrow) % 2 == 1), (narrow[0] + narrow[1]) % 2, _FIRST_SEED + number)


@click.group()
def main() -> None:
    """Measure the effect of narrowing each part of the random atmosphere."""


@main.command("train", context_settings={"show_default": True})
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The JSON file to write.")
@click.option("--epochs", type=click.IntRange(1), default=38, help="Epochs of every training.")
@click.option("--threads", type=click.IntRange(1), default=2)
def train_trials(data: Path, to: Path, epochs: int, threads: int) -> None:
    """Run the sixteen trials, and write the figures of each; trials in the file are kept."""
    from earthsignature_assets.cli.progress import progress_bars
    from recipes.corine_unet.cross_validation import TrainingData

    known = TrainingData.read(data, threads)
    found: list[dict[str, Any]] = json.loads(to.read_text(encoding="utf-8")) if to.exists() else []
    done = {trial["seed"] for trial in found}
    with progress_bars(Console()) as progress:
        for trial in trials():
            if trial.seed not in done:
                found.append({**asdict(trial), **run_trial(known, trial, epochs, threads, progress)})
                to.write_text(json.dumps(found) + "\n", encoding="utf-8")


def run_trial(known: "TrainingData", trial: Trial, epochs: int, threads: int, progress: Any) -> dict[str, float]:
    """Train without Hațeg and the trial's fold, and evaluate on that fold's patches and Hațeg's training polygons.

    Each figure is a mean over patches or polygons of the share of correct pixels, as they are and under six other
    atmospheres of version 1's spread.
    """
    from earthsignature_assets.training.network import Architecture
    from earthsignature_assets.training.optimisation import Recipe, predict_any, train
    from recipes.corine_unet.cross_validation import patch_answer

    fold_of = spatial_folds(known.patches, _FOLDS)
    seen = [patch for patch, fold in zip(known.patches, fold_of, strict=True) if fold != trial.fold]
    kept_out = [patch for patch, fold in zip(known.patches, fold_of, strict=True) if fold == trial.fold]
    recipe = Recipe(epochs=epochs, seed=trial.seed, threads=threads, atmosphere=trial.atmosphere)
    network, _ = train(seen, recipe, Architecture(), progress, f"trial {trial.seed}", classes=CLASS_CODES)
    table = np.array([0, *CLASS_CODES], np.uint16)
    polygons, _ = split_polygons(known.scene.labels)

    def codes(image: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        return table[predict_any(network, image)]

    patches, places = [], []
    for shift in (None, *range(_SHIFTS)):
        answers = [patch_answer(patch, codes(shifted(as_typical_surface(patch), shift)))["right"] for patch in kept_out]
        patches.append(float(np.mean([share for share in answers if share is not None])))
        counts = polygon_counts(known.scene, polygons, codes(shifted(known.scene.reflectance, shift))).counts
        right = np.trace(counts, axis1=1, axis2=2) / counts.sum(axis=(1, 2))
        places.append(float(right.mean()))
    return {
        "patches": patches[0],
        "patches, other atmospheres": float(np.mean(patches[1:])),
        "Hațeg unseen": places[0],
        "Hațeg unseen, other atmospheres": float(np.mean(places[1:])),
    }


def shifted(image: npt.NDArray[np.uint16], shift: int | None) -> npt.NDArray[np.uint16]:
    """Return the image, or the image under the other atmosphere of that number."""
    return image if shift is None else under_one_deviation(image, shift)


FIGURES = ("patches", "patches, other atmospheres", "Hațeg unseen", "Hațeg unseen, other atmospheres")


@main.command("effects")
@click.option("--parts", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
def print_effects(parts: Path) -> None:
    """Print the effect of narrowing each part to a third on each figure, in points, with its standard error."""
    found = json.loads(parts.read_text(encoding="utf-8"))
    table = Table("Drawn a third as wide", *FIGURES)
    columns = [effects(found, figure) for figure in FIGURES]
    for part in PARTS:
        table.add_row(part, *(f"{column[part][0]:+.1f} ± {column[part][1]:.1f}" for column in columns))
    Console().print(table)


def effects(found: list[Mapping[str, Any]], figure: str) -> dict[str, tuple[float, float]]:
    """Estimate the effect of narrowing each part on a figure and its standard error, in points, by least squares."""
    design = np.array([[1.0, *trial["narrow"], trial["fold"]] for trial in found])
    values = _SHARE * np.array([trial[figure] for trial in found])
    fitted, *_ = np.linalg.lstsq(design, values, rcond=None)
    rest = values - design @ fitted
    variance = rest @ rest / (len(found) - design.shape[1])
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return {part: (float(fitted[k]), float(errors[k])) for k, part in enumerate(PARTS, 1)}


if __name__ == "__main__":
    main()
