"""`earthsignature models`: the versions, from their registration to their retirement."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from earthsignature_assets.cli.options import home_option, reported, settings_of
from earthsignature_assets.system.extras import require_platform

if TYPE_CHECKING:
    from earthsignature_assets.cli.models import ModelCommands

# What a command needs is imported when it runs: `--help` answers at once.

_who = click.option("--who", default=getpass.getuser, show_default="your user name", help="Whose decision it is.")
_why = click.option("--why", required=True, help="The reason, for those who come later.")


@click.group(invoke_without_command=True)
@home_option
@click.pass_context
@reported
def models(context: click.Context, home: Path) -> None:
    """Model versions: register, evaluate, promote, retire, quantise, serve by Triton. Alone it lists them."""
    require_platform()
    from earthsignature_assets.cli.models import ModelCommands

    context.obj = ModelCommands(settings_of(home), Console())
    if context.invoked_subcommand is None:
        context.obj.list()


@models.command("list")
@click.pass_obj
@reported
def list_models(desk: "ModelCommands") -> None:
    """The versions, which of them take part, and what each can tell."""
    desk.list()


@models.command("show")
@click.argument("model")
@click.pass_obj
@reported
def show_model(desk: "ModelCommands", model: str) -> None:
    """A version's description, its card and the decisions about it."""
    desk.show(model)


@models.command("history")
@click.pass_obj
@reported
def show_history(desk: "ModelCommands") -> None:
    """Who promoted and retired which version, when and why: one page, the latest first."""
    desk.history()


@models.command("register")
@click.argument("source")
@click.pass_obj
@reported
def register_model(desk: "ModelCommands", source: str) -> None:
    """Copy a version into the repository and make it a partition.

    SOURCE is a folder with model.json and model.onnx, or the name of a version that was retired and takes part again.
    """
    desk.register(source)


@models.command("training-set")
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
@reported
def make_training_set(desk: "ModelCommands", recipe: Path) -> None:
    """Cut images and their ground truth into labelled samples, split by space.

    RECIPE is a TOML file; docs/how-to/train-on-your-polygons.md lists its keys. The set becomes
    HOME/training_sets/<its name>.
    """
    desk.make_training_set(recipe)


@models.command("evaluate")
@click.argument("model")
@click.option("--set", "name", default="", help="Training set: its name or folder; by default the newest.")
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--against", default="", help="Version to compare with; by default the promoted one.")
@click.pass_obj
@reported
def evaluate_model(desk: "ModelCommands", model: str, name: str, split: str, against: str) -> None:
    """Judge a version on held-out samples, beside the current one: promote or hold, and why.

    Figures, page and picture are in HOME/evaluations/<model>.
    """
    desk.evaluate(model, name, split, against)


@models.command("quantise")
@click.argument("model")
@click.option("--version", type=click.IntRange(1), required=True, help="Number of the version in int8.")
@click.option("--training-set", "name", default="", help="Training set: its name or folder; by default the newest.")
@click.pass_obj
@reported
def quantise_model(desk: "ModelCommands", model: str, version: int, name: str) -> None:
    """Write a version in int8: faster on processors, nearly the same classes.

    Training samples give the ranges; held-out samples give the share of pixels that keep their class. The speeds of
    both versions are measured.
    """
    desk.quantise(model, version, name)


@models.command("triton")
@click.argument("models", nargs=-1)
@click.option(
    "--for",
    "target",
    type=click.Choice(["onnxruntime", "gpu", "tensorrt", "python"]),
    default="onnxruntime",
    show_default=True,
    help="What the servers run the models with.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the repository; other versions in it stay.",
)
@click.pass_obj
@reported
def lay_out_for_triton(desk: "ModelCommands", models: tuple[str, ...], target: str, folder: Path) -> None:
    """Write a repository for NVIDIA Triton servers: MODELS, or all."""
    desk.lay_out_for_triton(models, target, folder)


@models.command("promote")
@click.argument("model")
@_who
@_why
@click.pass_obj
@reported
def promote_model(desk: "ModelCommands", model: str, who: str, why: str) -> None:
    """Serve a version for every product that it has; promoting the older one again is the way back."""
    desk.promote(model, who, why)


@models.command("retire")
@click.argument("model")
@_who
@_why
@click.pass_obj
@reported
def retire_model(desk: "ModelCommands", model: str, who: str, why: str) -> None:
    """Take a version out of new runs and out of the UI; what it published stays."""
    desk.retire(model, who, why)
