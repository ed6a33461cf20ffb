"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")

import torch

from earthsignature_assets.errors import GroundTruthError, TrainingError
from earthsignature_assets.ground_truth.samples import class_set
from earthsignature_assets.training.network import predict
from earthsignature_assets.training.optimisation import masked_loss, taught_loss, train
from tests.small_training import CODES, QUIET, RECIPE, TINY, assert_same, samples


def test_training_learns_and_repeats_itself() -> None:
    recipe = replace(RECIPE, epochs=60, batch=4)
    (one, curve), (again, _) = (train(samples(), recipe, TINY, QUIET, "test", classes=CODES) for _ in range(2))
    assert_same(one, again)
    assert curve.losses[-1] < curve.losses[0]
    codes = np.array([0, *CODES])
    for sample in samples():
        assert (codes[predict(one, sample.reflectance[None])[0]] == sample.codes).mean() > 0.9


_KILLED = """
import os, sys
from pathlib import Path
from tests.small_training import CODES, QUIET, RECIPE, TINY, samples
from earthsignature_assets.training import checkpoint
from earthsignature_assets.training.optimisation import train

save = checkpoint.Checkpoint.save
def save_and_die(self, state, *args, **kwargs):
    save(self, state, *args, **kwargs)
    if len(state.curve.losses) == 3:
        os.kill(os.getpid(), 9)
checkpoint.Checkpoint.save = save_and_die
train(samples(), RECIPE, TINY, QUIET, "killed", classes=CODES, checkpoint=Path(sys.argv[1]))
"""


def test_a_killed_run_resumes_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(file)], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -9
    assert file.is_file()
    resumed, curve = train(samples(), RECIPE, TINY, QUIET, "resumed", classes=CODES, checkpoint=file)
    whole, curve_of_whole = train(samples(), RECIPE, TINY, QUIET, "whole", classes=CODES)
    assert_same(resumed, whole)
    assert curve.losses == curve_of_whole.losses
    assert len(curve.losses) == RECIPE.epochs


@pytest.mark.parametrize("change", ["seed", "samples", "architecture"])
def test_a_checkpoint_resumes_only_its_own_training(tmp_path: Path, change: str) -> None:
    file, short = tmp_path / "run.pt", replace(RECIPE, epochs=1)
    train(samples(), short, TINY, QUIET, "first", classes=CODES, checkpoint=file)
    other = {
        "seed": (samples(), replace(short, seed=1), TINY),
        "samples": (samples(forest=3001), short, TINY),
        "architecture": (samples(), short, replace(TINY, width=8)),
    }
    with pytest.raises(TrainingError, match="another recipe, network or samples: remove it"):
        train(*other[change], QUIET, "second", classes=CODES, checkpoint=file)


def test_a_file_that_is_not_a_checkpoint_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    file.write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=r"run\.pt is not a checkpoint"):
        train(samples(), RECIPE, TINY, QUIET, "test", classes=CODES, checkpoint=file)


def test_training_stops_early_and_keeps_the_best_epoch() -> None:
    validation = samples()
    # Nobody can learn these: water's label on forest and the other way round.
    for sample, code in zip(validation, (512, 313), strict=True):
        sample.codes[:] = code
    recipe = replace(RECIPE, epochs=40, patience=4)
    network, curve = train(samples(), recipe, TINY, QUIET, "test", classes=CODES, validation=validation)
    best = curve.accuracies.index(max(curve.accuracies))
    assert len(curve.losses) == best + 5 < 40
    until_best, _ = train(
        samples(), replace(recipe, epochs=40), TINY, QUIET, "again", classes=CODES, validation=validation
    )
    assert_same(network, until_best)


def test_a_loss_that_is_not_a_number_is_named() -> None:
    with pytest.raises(TrainingError, match=r"corine: the loss became nan at step \d+; lower the learning rate"):
        train(samples(), replace(RECIPE, learning_rate=1e30), TINY, QUIET, "corine", classes=CODES)


def test_samples_without_a_label_are_refused() -> None:
    blank = [sample.with_codes(np.zeros_like(sample.codes)) for sample in samples()]
    with pytest.raises(GroundTruthError, match="nothing to train on"):
        train(blank, RECIPE, TINY, QUIET, "test", classes=CODES)


def test_classes_allowed_by_the_teacher_are_learnt() -> None:
    forest, water = samples()
    half = water.codes.copy()
    half[:, 32:] = 0
    weak = np.where(half == 0, np.uint64(class_set(512, among=CODES)), np.uint64(0))
    taught = [forest, replace(water.with_codes(half), weak=weak)]
    network, _ = train(taught, replace(RECIPE, epochs=60, batch=4), TINY, QUIET, "test", classes=CODES)
    assert (predict(network, water.reflectance[None]) == 8).mean() > 0.9


def test_a_pixel_of_two_allowed_classes_costs_their_sum() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2]))[None, :, None, None].repeat(1, 1, 1, 3)
    allowed = torch.tensor([[True, False, False], [True, True, False], [False, False, False]]).T[None, :, None]
    weights = torch.tensor([[[2.0, 1.0, 9.0]]])
    loss = masked_loss(logits, allowed, weights, smoothing=0.0)
    expected = -(2 * np.log(0.5) + np.log(0.8)) / 3
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_void_pixels_cost_nothing() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = masked_loss(logits, torch.zeros(1, 3, 2, 2, dtype=torch.bool), torch.ones(1, 2, 2))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


def test_covers_cost_nothing_without_a_teacher_and_least_where_it_is_followed() -> None:
    covers = torch.zeros(1, 3, 2, 2)
    covers[0, :, 0, 0] = torch.tensor([0.7, 0.2, 0.1])
    followed = torch.log(covers.clamp(min=1e-9))
    entropy = -(covers[covers > 0] * torch.log(covers[covers > 0])).sum()
    assert float(taught_loss(followed, covers)) == pytest.approx(float(entropy), abs=1e-5)
    assert float(taught_loss(torch.zeros_like(covers), covers)) > float(entropy)
    elsewhere = followed.clone()
    elsewhere[0, :, 1, 1] = 50.0
    assert float(taught_loss(elsewhere, covers)) == pytest.approx(float(taught_loss(followed, covers)), abs=1e-6)
    assert float(taught_loss(followed, torch.zeros_like(covers))) == 0


def test_covers_are_learnt_next_to_the_classes() -> None:
    taught = []
    for number, sample in enumerate(samples()):
        covers = np.zeros((2, 64, 64), np.float32)
        covers[number] = 1
        taught.append(replace(sample, covers=covers))
    network, _ = train(
        taught, replace(RECIPE, epochs=60, batch=4), replace(TINY, covers=2), QUIET, "covers", classes=CODES
    )
    assert network.covers is not None
    for number, sample in enumerate(taught):
        with torch.no_grad():
            logits = network.covers(network.features(torch.from_numpy(sample.reflectance.astype(np.float32))[None]))
        assert (logits.argmax(dim=1) == number).float().mean() > 0.9
