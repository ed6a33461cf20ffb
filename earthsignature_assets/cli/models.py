"""`earthsignature models`: the model versions and the decisions about them."""

import getpass
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from earthsignature_assets.cli.options import deployment_options
from earthsignature_assets.cli.progress import progress_bar
from earthsignature_assets.errors import ModelError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.system.command_line import reported
from earthsignature_assets.system.extras import require_platform
from earthsignature_assets.system.settings import Settings

if TYPE_CHECKING:
    from earthsignature_assets.models.repository import ModelRepository
    from earthsignature_assets.products.catalogue.catalogue import Promotion
    from earthsignature_assets.resources.workspace import Workspace

# A command imports what it needs when it runs: `--help` answers at once.

_who = click.option(
    "--who", default=getpass.getuser, show_default="your user name", help="The person who makes the decision."
)
_why = click.option("--why", required=True, help="The reason, for later readers.")


@dataclass(frozen=True)
class Deployment:
    """The model versions of one deployment, as the commands see them."""

    settings: Settings
    console: Console

    @cached_property
    def workspace(self) -> "Workspace":
        """The folders of the deployment."""
        from earthsignature_assets.resources.workspace import Workspace

        return Workspace.of(self.settings)

    @cached_property
    def repository(self) -> "ModelRepository":
        """The model repository."""
        from earthsignature_assets.resources.inference_engine import InferenceEngine

        return InferenceEngine.of(self.settings).repository

    def known(self, text: str) -> ModelVersion:
        """Parse the name of a version of the repository.

        Raises:
            InvalidKeyError: the text is not a model version.
            ModelError: the version is not in the repository.
        """
        model, versions = ModelVersion.parse(text), self.repository.versions()
        if model not in versions:
            names = ", ".join(map(str, versions)) or "none"
            raise ModelError(f"{model} is not in the model repository {self.repository.root} (it has: {names})")
        return model

    def partitions(self) -> set[str]:
        """Return the keys of the versions that take part in runs."""
        from earthsignature_assets.cli.chain import open_instance
        from earthsignature_assets.partitions import model_versions

        if not (self.settings.home / "dagster").is_dir():
            return set()
        with open_instance(self.settings.home) as instance:
            return set(instance.get_dynamic_partitions(str(model_versions.name)))

    def promotions(self) -> "Sequence[Promotion]":
        """Return the promotions, the latest first."""
        if not self.workspace.store.has_catalogue():
            return []
        with self.workspace.store.open_catalogue(read_only=True) as catalogue:
            return catalogue.promotions()

    def products(self, model: ModelVersion) -> int:
        """Count the published products of a version."""
        if not self.workspace.store.has_catalogue():
            return 0
        with self.workspace.store.open_catalogue(read_only=True) as catalogue:
            return catalogue.count(model)


def _on_deployment(command: Callable[..., None]) -> Callable[..., None]:
    return click.pass_obj(reported(command))


@click.group(invoke_without_command=True)
@click.pass_context
@deployment_options
def models(context: click.Context, settings: Settings) -> None:
    """Register, evaluate, promote, retire or quantise model versions, or serve them by Triton. Alone it lists them."""
    require_platform()
    context.obj = Deployment(settings, Console())
    if context.invoked_subcommand is None:
        context.invoke(list_models)


@models.command("list")
@_on_deployment
def list_models(deployment: Deployment) -> None:
    """List the versions with their state, their number of products and their classes."""
    from earthsignature_assets.models.repository import superseded_versions
    from earthsignature_assets.nomenclature import class_of

    repository = deployment.repository
    table = Table(title=f"Model versions in {repository.root}")
    for column in ("model version", "state", "products", "classes (CORINE code, level of the ground truth)"):
        table.add_column(column, justify="right" if column == "products" else "left")
    retired, promotions = deployment.workspace.retired_models.all(), deployment.promotions()
    waiting = {str(model) for model in superseded_versions(repository)} - deployment.partitions()
    current = promotions[0].model if promotions else None
    for model in repository.versions():
        state = "retired" if model in retired else "superseded" if str(model) in waiting else "takes part"
        classes = ", ".join(
            f"{entry.code} {class_of(entry.code).name} (level {entry.supported_level})"
            for entry in repository.describe(model).classes
        )
        state = f"{state}, promoted" if model == current else state
        table.add_row(str(model), state, str(deployment.products(model)), classes)
    deployment.console.print(table)


@models.command("show")
@click.argument("model")
@_on_deployment
def show_model(deployment: Deployment, model: str) -> None:
    """Show a version's description, the decisions about it and its card."""
    from rich.markdown import Markdown

    from earthsignature_assets.evaluation.evaluation_report import CARD, FIGURES
    from earthsignature_assets.evaluation.promotion_decision import PromotionDecision

    version, console, workspace = ModelVersion.parse(model), deployment.console, deployment.workspace
    description, folder = deployment.repository.describe(version), deployment.repository.folder(version)
    console.print(f"[bold]{version}[/]  {folder}")
    console.print(
        f"level {description.level}, {len(description.classes)} classes, bands {', '.join(description.bands)}, "
        f"halo {description.halo} px, receptive field {description.receptive_field} px\n"
        f"SHA-256 {description.sha256}"
    )
    console.print(f"{deployment.products(version)} products")
    for promotion in deployment.promotions():
        if promotion.model == version:
            console.print(f"promoted {promotion.promoted_at:%Y-%m-%d %H:%M} by {promotion.who}: {promotion.why}")
    if (retirement := workspace.retired_models.all().get(version)) is not None:
        console.print(f"retired {retirement.retired_at:%Y-%m-%d %H:%M} by {retirement.who}: {retirement.why}")
    evaluation = workspace.evaluations_root / str(version)
    if (evaluation / FIGURES).is_file():
        found = json.loads((evaluation / FIGURES).read_text(encoding="utf-8"))
        console.print(f"evaluated on {found['set']['name']}: {PromotionDecision(**found['verdict'])}")
    # A version that training described has its own card; any other has the one of its evaluation.
    if (card := next((path for path in (folder / CARD, evaluation / CARD) if path.is_file()), None)) is not None:
        console.print(Markdown(card.read_text(encoding="utf-8")))


@models.command("history")
@_on_deployment
def show_history(deployment: Deployment) -> None:
    """List all promotions and retirements with time, person and reason, the latest first."""
    promotions = deployment.promotions()
    decisions: list[tuple[Any, ...]] = [
        (one.promoted_at, "promoted", one.model, one.who, one.why) for one in promotions
    ]
    decisions += [
        (one.retired_at, "retired", one.model, one.who, one.why)
        for one in deployment.workspace.retired_models.all().values()
    ]
    table = Table(title=f"{len(decisions)} decisions about model versions")
    for column in ("when (UTC)", "decision", "model version", "who", "why"):
        table.add_column(column)
    for when, decision, model, who, why in sorted(decisions, key=itemgetter(0), reverse=True):
        table.add_row(f"{when:%Y-%m-%d %H:%M}", decision, str(model), escape(who), escape(why))
    deployment.console.print(table)
    if promotions:
        deployment.console.print(f"{promotions[0].model} is served first; where it has no product, the one before it")


@models.command("register")
@click.argument("source")
@_on_deployment
def register_model(deployment: Deployment, source: str) -> None:
    """Copy a version into the repository and make it a partition.

    SOURCE is a folder with model.json and model.onnx, or the name of a retired version, which takes part again.
    """
    from earthsignature_assets.cli.chain import open_instance
    from earthsignature_assets.partitions import model_versions

    repository, folder = deployment.repository, Path(source)
    model = repository.register(folder) if folder.is_dir() else deployment.known(source)
    repository.graph(model)
    deployment.workspace.retired_models.reinstate(model)
    with open_instance(deployment.settings.home) as instance:
        instance.add_dynamic_partitions(str(model_versions.name), [str(model)])
    deployment.console.print(f"{model} is in {repository.folder(model)} and takes part from now on")
    deployment.console.print(
        "New scenes get its products automatically; earlier scenes need a backfill of `segmentation` and the assets "
        "after it"
    )


@models.command("training-set")
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_on_deployment
def make_training_set(deployment: Deployment, recipe: Path) -> None:
    """Cut images and their ground truth into labelled samples, split by space.

    RECIPE is a TOML file; docs/how-to/train-on-your-polygons.md lists its keys. The set becomes
    HOME/training_sets/<its name>.
    """
    from earthsignature_assets.ground_truth.training_set_builder import build_training_set
    from earthsignature_assets.ground_truth.training_set_recipe import read_recipe
    from earthsignature_assets.nomenclature import name_at_level
    from earthsignature_assets.resources.imagery_source import ImagerySource
    from earthsignature_assets.resources.training_images import open_images

    plan, console, workspace = read_recipe(recipe), deployment.console, deployment.workspace
    images = open_images(plan, workspace, ImagerySource.of(deployment.settings))
    with progress_bar(console, f"Cutting {plan.name}") as progress:
        made = build_training_set(plan, images, workspace.training_sets_root / plan.name, progress)
    splits = list(made.report["splits"])
    table = Table(title=f"{plan.name}: {len(made)} samples in {made.folder}")
    for column in ("class, as far as the labels go", "pixels", *splits):
        table.add_column(column, justify="left" if column.startswith("class") else "right")
    table.add_row("samples", "", *(str(made.report["splits"][split]["samples"]) for split in splits))
    for entry in made.report["classes"]:
        name = f"{entry['name']} {name_at_level(entry['code'], entry['level'])}"
        table.add_row(name, f"{entry['pixels']:,}", *(f"{entry[split]:,}" for split in splits))
    console.print(table)
    for remark in made.report["remarks"]:
        console.print(f"[yellow]{remark['count']:,} {remark['what']}[/] of {remark['source']}: {remark['reason']}")
    if unseen := made.report["classes_without_a_pixel"]:
        console.print(f"Classes of the schemes without a pixel: {', '.join(map(str, unseen))}")


@models.command("evaluate")
@click.argument("model")
@click.option("--set", "name", default="", help="Training set: its name or folder; by default the newest.")
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--against", default="", help="Version to compare with; by default the promoted one.")
@_on_deployment
def evaluate_model(deployment: Deployment, model: str, name: str, split: str, against: str) -> None:
    """Evaluate a version on held-out samples next to the current one: promote or hold, and why.

    Figures, page and picture are in HOME/evaluations/<model>.
    """
    from rich.markdown import Markdown

    from earthsignature_assets.evaluation.evaluation_page import evaluation_summary
    from earthsignature_assets.evaluation.evaluation_report import PAGE, evaluate_version
    from earthsignature_assets.ground_truth.spatial_split import Split

    repository, workspace, version = deployment.repository, deployment.workspace, deployment.known(model)
    current = deployment.known(against) if against else workspace.promoted_model(repository)
    folder = workspace.evaluations_root / str(version)
    held_out = workspace.training_set(name)
    with progress_bar(deployment.console, f"Evaluating {version}") as progress:
        evaluation = evaluate_version(repository, version, current, held_out, Split(split), folder, progress)
    deployment.console.print(Markdown(evaluation_summary(evaluation.figures)))
    deployment.console.print(f"All figures: {folder / PAGE}")


@models.command("quantise")
@click.argument("model")
@click.option("--version", type=click.IntRange(1), required=True, help="Number of the version in int8.")
@click.option("--training-set", "name", default="", help="Training set: its name or folder; by default the newest.")
@_on_deployment
def quantise_model(deployment: Deployment, model: str, version: int, name: str) -> None:
    """Write a version in int8: faster on processors, nearly the same classes.

    Training samples give the ranges; held-out samples give the share of pixels that keep their class. The speeds of
    both versions are measured.
    """
    from earthsignature_assets.training.quantisation import quantise_version

    source, console, repository = ModelVersion.parse(model), deployment.console, deployment.repository
    training_set = deployment.workspace.training_set(name)
    with console.status(f"Quantising {source}"):
        made = quantise_version(repository, source, version, training_set, repository.root)
    table = Table(title=f"{made.model}: {source} in int8, {repository.folder(made.model)}")
    for column in ("", "float32", "int8"):
        table.add_column(column, justify="left" if not column else "right")
    for split, share in made.agreement.items():
        table.add_row(f"{split} pixels of {training_set.report['name']} that keep their class", "", f"{share:.2%}")
    table.add_row("processor seconds for 1024² pixels", f"{made.source_cpu_seconds:.2f}", f"{made.cpu_seconds:.2f}")
    console.print(table)
    console.print(f"Let it take part: [bold]earthsignature models register {made.model}[/]")


@models.command("triton")
@click.argument("models", nargs=-1)
@click.option(
    "--for",
    "target",
    type=click.Choice(["onnxruntime", "gpu", "tensorrt", "python"]),
    default="onnxruntime",
    show_default=True,
    help="Backend and device of the servers.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the repository; other versions in it stay.",
)
@_on_deployment
def lay_out_for_triton(deployment: Deployment, models: tuple[str, ...], target: str, folder: Path) -> None:
    """Write a repository for NVIDIA Triton servers: MODELS, or all."""
    from earthsignature_assets.models.triton_repository import TritonTarget, write_triton_repository

    versions = [ModelVersion.parse(text) for text in models] or deployment.repository.versions()
    write_triton_repository(deployment.repository, versions, TritonTarget(target), folder)
    deployment.console.print(f"{', '.join(map(str, versions))} in {folder}, for {target}")
    deployment.console.print(f"[bold]tritonserver --model-repository={folder} --model-control-mode=explicit[/]")


@models.command("promote")
@click.argument("model")
@_who
@_why
@_on_deployment
def promote_model(deployment: Deployment, model: str, who: str, why: str) -> None:
    """Serve every product of a version; promote the older one again to go back."""
    version = ModelVersion.parse(model)
    if not deployment.products(version):
        deployment.known(model)
    with deployment.workspace.store.open_catalogue() as catalogue:
        catalogue.promote(version, who, why)
        served, products = catalogue.count(), catalogue.count(version)
    deployment.console.print(f"{version} is promoted: it has {products} of the {served} products that are served")


@models.command("retire")
@click.argument("model")
@_who
@_why
@_on_deployment
def retire_model(deployment: Deployment, model: str, who: str, why: str) -> None:
    """Remove a version from new runs and from the UI; its products stay."""
    from earthsignature_assets.cli.chain import open_instance
    from earthsignature_assets.partitions import model_versions

    version, console = deployment.known(model), deployment.console
    deployment.workspace.retired_models.retire(version, who, why)
    with open_instance(deployment.settings.home) as instance:
        instance.delete_dynamic_partition(str(model_versions.name), str(version))
    console.print(f"{version} is retired; its {deployment.products(version)} products stay")
    promotions = deployment.promotions()
    if promotions and promotions[0].model == version:
        console.print("[yellow]It is still the promoted one: products of others are served where it has none")
