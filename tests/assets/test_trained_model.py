"""The asset without PyTorch; tests/training/test_set_training.py has it train."""

import sys
from pathlib import Path

import dagster as dg
import pytest

from earthsignature_assets.assets.trained_model import TrainingConfig, _version, trained_model
from earthsignature_assets.errors import TrainingError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.workspace import Workspace


def test_without_pytorch_the_run_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("earthsignature_assets.training.optimisation")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(dg.Failure) as failure:
        dg.materialize(
            [trained_model],
            resources={"workspace": Workspace(home=str(tmp_path)), "engine": InferenceEngine()},
        )
    assert "torch is not installed: pip install 'earthsignature[train]'" in str(failure.value.description)


def test_the_next_number_is_free_and_an_existing_one_is_refused(tmp_path: Path) -> None:
    engine = InferenceEngine(registered=str(tmp_path))
    newest = max(model.version for model in engine.repository.versions())
    assert _version(TrainingConfig(), engine) == ModelVersion("corine-unet", newest + 1)
    assert _version(TrainingConfig(name="mine"), engine) == ModelVersion("mine", 1)
    with pytest.raises(TrainingError, match="corine-unet-v1 is in the model repository already"):
        _version(TrainingConfig(version=1), engine)
