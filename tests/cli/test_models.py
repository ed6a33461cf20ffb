import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

from earthsignature_assets.cli.chain import open_instance
from earthsignature_assets.cli.main import main
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import shipped_repository
from earthsignature_assets.products.store.product_store import ProductStore

FIRST, NEW = ModelVersion("corine-unet", 1), ModelVersion("corine-unet", 7)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A new version as training leaves it."""
    folder = tmp_path / "trained" / "corine-unet" / str(NEW.version)
    shutil.copytree(shipped_repository().folder(FIRST), folder)
    shutil.copy(shipped_repository().root / "corine-unet" / "config.pbtxt", folder.parent)
    described = folder / "model.json"
    described.write_text(described.read_text().replace('"version": 1', f'"version": {NEW.version}'))
    return folder


def models(home: Path, *arguments: str, fails: bool = False) -> Result:
    result = CliRunner().invoke(main, ["models", "--home", str(home), *arguments], env={"COLUMNS": "200"})
    assert (result.exit_code != 0) == fails, result.output
    return result


def keys(home: Path) -> list[str]:
    with open_instance(home) as instance:
        return list(instance.get_dynamic_partitions("model_version"))


def test_a_version_is_registered_promoted_rolled_back_and_retired(home: Path, trained: Path) -> None:
    output = models(home, "register", str(trained)).output
    assert str(NEW) in output
    assert keys(home) == [str(NEW)]
    assert (home / "models" / "corine-unet" / str(NEW.version) / "card.md").is_file()
    assert (home / "models" / "corine-unet" / "config.pbtxt").is_file()
    assert "corine-unet-v1" in models(home).output
    models(home, "register", str(trained))
    assert keys(home) == [str(NEW)]

    rows = [[cell.strip() for cell in line.split("│")] for line in models(home).output.splitlines() if "│" in line]
    states = {row[1]: row[2] for row in rows if row[1]}
    assert states == {str(FIRST): "superseded", "corine-unet-v2": "takes part", str(NEW): "takes part"}

    models(home, "promote", str(NEW), "--who", "Ada", "--why", "better forests")
    models(home, "promote", str(FIRST), "--who", "Bob", "--why", "worse water")
    with ProductStore(home / "store").open_catalogue(read_only=True) as catalogue:
        decisions = [(one.model, one.who, one.why) for one in catalogue.promotions()]
    assert decisions == [(FIRST, "Bob", "worse water"), (NEW, "Ada", "better forests")]
    assert "by Ada: better forests" in models(home, "show", str(NEW)).output

    models(home, "retire", str(NEW), "--who", "Bob", "--why", "worse water")
    assert keys(home) == []
    assert "retired" in models(home, "list").output
    assert "by Bob: worse water" in models(home, "show", str(NEW)).output
    models(home, "register", str(NEW))
    assert keys(home) == [str(NEW)]
    assert "retired" not in models(home, "list").output


def test_the_history_lists_all_decisions_the_latest_first(home: Path, trained: Path) -> None:
    assert "0 decisions" in models(home, "history").output
    models(home, "register", str(trained))
    models(home, "promote", str(NEW), "--who", "Ada", "--why", "better [forests]")
    models(home, "promote", str(FIRST), "--who", "Bob", "--why", "worse water")
    models(home, "retire", str(NEW), "--who", "Eve", "--why", "it rests")
    output = models(home, "history").output
    rows = [re.split(r"\s*│\s*", line.strip("│ "))[1:] for line in output.splitlines() if line.startswith("│")]
    # Within one minute the order of a retirement and a promotion is that of their seconds.
    assert sorted(rows) == [
        ["promoted", str(FIRST), "Bob", "worse water"],
        ["promoted", str(NEW), "Ada", "better [forests]"],
        ["retired", str(NEW), "Eve", "it rests"],
    ]
    assert [row[2] for row in rows if row[0] == "promoted"] == ["Bob", "Ada"]
    assert f"{FIRST} is served first" in output


def test_retiring_the_promoted_version_warns(home: Path) -> None:
    models(home, "promote", str(FIRST), "--why", "first")
    assert "still the promoted one" in models(home, "retire", str(FIRST), "--why", "rest").output


def test_another_version_of_the_same_number_is_refused(home: Path, trained: Path) -> None:
    models(home, "register", str(trained))
    described = trained / "model.json"
    content = json.loads(described.read_text())
    described.write_text(json.dumps(content | {"level": "another"}))
    assert "a version never changes" in models(home, "register", str(trained), fails=True).output


def test_a_damaged_version_is_refused_and_leaves_nothing(home: Path, trained: Path) -> None:
    (trained / "model.onnx").write_bytes(b"half")
    output = models(home, "register", str(trained), fails=True).output
    assert "is not the one that model.json describes" in output.replace("\n", " ")
    assert not (home / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("register", "corine|unet-v1"), "is not a model version"),
        (("register", "corine-unet-v9"), "is not in the model repository"),
        (("register", "."), "model.json is missing"),
        (("promote", "corine-unet-v9", "--why", "x"), "is not in the model repository"),
        (("retire", "corine-unet-v9", "--why", "x"), "is not in the model repository"),
        (("show", "Model"), "is not a model version"),
        (("promote", "corine-unet-v1"), "--why"),
    ],
)
def test_bad_input_is_named(home: Path, arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert message in models(home, *arguments, fails=True).output


def test_a_repository_for_triton_is_laid_out(tmp_path: Path) -> None:
    output = models(tmp_path / "home", "triton", "--for", "python", "--to", str(tmp_path / "served")).output
    assert str(FIRST) in output
    assert f"tritonserver --model-repository={tmp_path / 'served'}" in output.replace("\n", "")
    assert (tmp_path / "served" / "corine-unet" / "1" / "model.py").is_file()
    assert "v99 is not in" in models(tmp_path / "home", "triton", "corine-unet-v99", "--to", "x", fails=True).output


def test_a_training_set_is_made_and_a_version_is_evaluated_by_it(home: Path, trained: Path, tmp_path: Path) -> None:
    for number in range(24):
        label = ("wood", "lake", "road")[number % 3]
        path = tmp_path / "patches" / label / f"{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {"wood": 700, "lake": 150, "road": 2000}[label]
        place = rasterio.Affine(10, 0, 500_000 + 3_000 * number, 0, -10, 5_000_000)
        with rasterio.open(
            path, "w", driver="GTiff", width=32, height=32, count=10, dtype="uint16", crs=32633, transform=place
        ) as dataset:
            dataset.write(np.full((10, 32, 32), values, np.uint16))
    (tmp_path / "mine.csv").write_text("label,code,level\nwood,313,2\nlake,512,1\n")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "mine"\ncell_km = 1\nshares = { train = 0.2, test = 0.8 }\n[[patches]]\nfolder = "patches"\n'
        'scheme = "mine.csv"\nlevel = "L2A"\nbands = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n'
    )
    made = models(home, "training-set", str(recipe)).output
    assert "mine: 16 samples" in made
    assert "31x Forests" in made
    assert "8 patches of patches: label road is not in the scheme mine" in made

    judged = models(home, "evaluate", str(FIRST)).output
    assert "corine-unet-v1 on mine" in judged
    assert (home / "evaluations" / str(FIRST) / "evaluation.png").is_file()
    models(home, "register", str(trained))
    beside = models(home, "evaluate", str(NEW), "--set", "mine", "--against", str(FIRST)).output
    assert "Hold: not distinguishable from the current version" in beside, "it is the same network"
    shown = models(home, "show", str(NEW)).output
    assert "hold: not distinguishable" in shown
    assert "no sample in the split" in models(home, "evaluate", str(FIRST), "--split", "validation", fails=True).output
    quantised = models(home, "quantise", str(FIRST), "--version", "8", "--training-set", "mine").output
    assert "test pixels of mine that keep their class" in quantised
    assert (home / "models" / "corine-unet" / "8" / "card.md").is_file()
    assert "corine-unet-v9" in models(home, "evaluate", "corine-unet-v9", fails=True).output


def test_failed_evaluations_and_training_sets_name_the_reason(home: Path, tmp_path: Path) -> None:
    assert "there is no training set" in models(home, "evaluate", str(FIRST), fails=True).output
    (tmp_path / "recipe.toml").write_text('name = "mine"\n')
    output = models(home, "training-set", str(tmp_path / "recipe.toml"), fails=True).output
    assert "images with truth, or patches, are needed" in output
