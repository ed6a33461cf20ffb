"""`earthsignature models`: the versions, and the decisions about them."""

import json
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from earthsignature_assets.cli.bar import bar
from earthsignature_assets.cli.chain import open_instance
from earthsignature_assets.errors import ModelError
from earthsignature_assets.evaluation.evaluation_page import evaluation_summary
from earthsignature_assets.evaluation.evaluation_report import CARD, FIGURES, PAGE, evaluate_version
from earthsignature_assets.evaluation.promotion_decision import PromotionDecision
from earthsignature_assets.ground_truth.spatial_split import Split
from earthsignature_assets.ground_truth.training_set_builder import build_training_set
from earthsignature_assets.ground_truth.training_set_recipe import read_recipe
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.models.repository import superseded_versions
from earthsignature_assets.models.triton_repository import TritonTarget, write_triton_repository
from earthsignature_assets.nomenclature import class_of, name_at_level
from earthsignature_assets.partitions import model_versions
from earthsignature_assets.products.catalogue.catalogue import Promotion
from earthsignature_assets.resources.imagery_source import ImagerySource
from earthsignature_assets.resources.inference_engine import InferenceEngine
from earthsignature_assets.resources.settings import Settings
from earthsignature_assets.resources.training_images import open_images
from earthsignature_assets.resources.workspace import Workspace


class ModelCommands:
    """What an operator does with the model versions of one deployment."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._workspace = Workspace.of(settings)
        self._repository = InferenceEngine.of(settings).repository

    def list(self) -> None:
        """Print the versions, their state, how many products they have, and their classes."""
        table = Table(title=f"Model versions in {self._repository.root}")
        for column in ("model version", "state", "products", "classes (CORINE code, level of the ground truth)"):
            table.add_column(column, justify="right" if column == "products" else "left")
        retired, promotions = self._workspace.retired_models.all(), self._promotions()
        waiting = {str(model) for model in superseded_versions(self._repository)} - self._partitions()
        current = promotions[0].model if promotions else None
        for model in self._repository.versions():
            state = "retired" if model in retired else "superseded" if str(model) in waiting else "takes part"
            classes = ", ".join(
                f"{entry.code} {class_of(entry.code).name} (level {entry.supported_level})"
                for entry in self._repository.describe(model).classes
            )
            table.add_row(
                str(model), f"{state}, promoted" if model == current else state, str(self._products(model)), classes
            )
        self._console.print(table)

    def show(self, text: str) -> None:
        """Print a version's description, its decisions and its card.

        Raises:
            InvalidKeyError: no model version.
            ModelError: it is not in the repository.
        """
        model = ModelVersion.parse(text)
        description = self._repository.describe(model)
        self._console.print(f"[bold]{model}[/]  {self._repository.folder(model)}")
        self._console.print(
            f"level {description.level}, {len(description.classes)} classes, bands {', '.join(description.bands)}, "
            f"halo {description.halo} px, receptive field {description.receptive_field} px\n"
            f"SHA-256 {description.sha256}"
        )
        self._console.print(f"{self._products(model)} products")
        for promotion in self._promotions():
            if promotion.model == model:
                when = f"{promotion.promoted_at:%Y-%m-%d %H:%M}"
                self._console.print(f"promoted {when} by {promotion.who}: {promotion.why}")
        if (retirement := self._workspace.retired_models.all().get(model)) is not None:
            self._console.print(f"retired {retirement.retired_at:%Y-%m-%d %H:%M} by {retirement.who}: {retirement.why}")
        page = self._workspace.evaluations_root / str(model) / FIGURES
        if page.is_file():
            found = json.loads(page.read_text(encoding="utf-8"))
            decision = PromotionDecision(**found["verdict"])
            self._console.print(f"evaluated on {found['set']['name']}: {decision}")
        # A version that training described has its own card; any other the one of its evaluation.
        cards = (self._repository.folder(model) / CARD, self._workspace.evaluations_root / str(model) / CARD)
        if (card := next((path for path in cards if path.is_file()), None)) is not None:
            self._console.print(Markdown(card.read_text(encoding="utf-8")))

    def history(self) -> None:
        """Print every promotion and every retirement that stands: when, what, whose, why; the latest first."""
        promotions = self._promotions()
        decisions = [(one.promoted_at, "promoted", one.model, one.who, one.why) for one in promotions]
        decisions += [
            (one.retired_at, "retired", one.model, one.who, one.why)
            for one in self._workspace.retired_models.all().values()
        ]
        table = Table(title=f"{len(decisions)} decisions about model versions")
        for column in ("when (UTC)", "decision", "model version", "who", "why"):
            table.add_column(column)
        for when, decision, model, who, why in sorted(decisions, key=itemgetter(0), reverse=True):
            table.add_row(f"{when:%Y-%m-%d %H:%M}", decision, str(model), escape(who), escape(why))
        self._console.print(table)
        if promotions:
            self._console.print(f"{promotions[0].model} is served first; where it has no product, the one before it")

    def make_training_set(self, path: Path) -> None:
        """Make a training set, and print its balance and what was left out.

        Raises:
            GroundTruthError: the recipe or a source cannot be used.
        """
        recipe = read_recipe(path)
        images = open_images(recipe, self._workspace, ImagerySource.of(self._settings))
        with bar(self._console, f"Cutting {recipe.name}") as watcher:
            made = build_training_set(recipe, images, self._workspace.training_sets_root / recipe.name, watcher)
        splits = list(made.report["splits"])
        table = Table(title=f"{recipe.name}: {len(made)} samples in {made.folder}")
        for column in ("class, as far as the labels go", "pixels", *splits):
            table.add_column(column, justify="left" if column.startswith("class") else "right")
        table.add_row("samples", "", *(str(made.report["splits"][split]["samples"]) for split in splits))
        for entry in made.report["classes"]:
            name = f"{entry['name']} {name_at_level(entry['code'], entry['level'])}"
            table.add_row(name, f"{entry['pixels']:,}", *(f"{entry[split]:,}" for split in splits))
        self._console.print(table)
        for remark in made.report["remarks"]:
            self._console.print(
                f"[yellow]{remark['count']:,} {remark['what']}[/] of {remark['source']}: {remark['reason']}"
            )
        if unseen := made.report["classes_without_a_pixel"]:
            self._console.print(f"Classes of the schemes without a pixel: {', '.join(map(str, unseen))}")

    def evaluate(self, text: str, name: str, split: str, against: str) -> None:
        """Judge a version, and print the verdict.

        Raises:
            InvalidKeyError: no model version.
            ModelError: a version is not in the repository.
            GroundTruthError: there is no training set, or its split is empty.
        """
        model = self._known(text)
        current = self._known(against) if against else self._workspace.promoted_model(self._repository)
        folder = self._workspace.evaluations_root / str(model)
        held_out = self._workspace.training_set(name)
        with bar(self._console, f"Judging {model}") as watcher:
            evaluation = evaluate_version(self._repository, model, current, held_out, Split(split), folder, watcher)
        self._console.print(Markdown(evaluation_summary(evaluation.figures)))
        self._console.print(f"The whole of it: {folder / PAGE}")

    def quantise(self, text: str, version: int, name: str) -> None:
        """Write an int8 version into the repository, and print its agreement with its source and both speeds.

        Raises:
            InvalidKeyError: the text is not a model version.
            ModelError: the version is absent, the new one exists, or onnx is not installed.
            GroundTruthError: there is no training set, or one of its splits is empty.
        """
        try:
            from earthsignature_assets.training.quantisation import quantise_version
        except ModuleNotFoundError as error:
            raise ModelError(
                f"{error.name} is not installed: pip install 'earthsignature[quantise]' brings what quantisation needs"
            ) from error
        source = ModelVersion.parse(text)
        training_set = self._workspace.training_set(name)
        with self._console.status(f"Quantising {source}"):
            made = quantise_version(self._repository, source, version, training_set, self._repository.root)
        table = Table(title=f"{made.model}: {source} in int8, {self._repository.folder(made.model)}")
        for column in ("", "float32", "int8"):
            table.add_column(column, justify="left" if not column else "right")
        for split, share in made.agreement.items():
            table.add_row(f"{split} pixels of {training_set.report['name']} that keep their class", "", f"{share:.2%}")
        table.add_row("processor seconds for 1024² pixels", f"{made.source_cpu_seconds:.2f}", f"{made.cpu_seconds:.2f}")
        self._console.print(table)
        self._console.print(f"Let it take part: [bold]earthsignature models register {made.model}[/]")

    def lay_out_for_triton(self, texts: Sequence[str], target: str, folder: Path) -> None:
        """Write a repository for Triton servers.

        Raises:
            InvalidKeyError: no model version.
            ModelError: a version is absent or damaged, or versions of one model take different bands.
        """
        models = [ModelVersion.parse(text) for text in texts] or self._repository.versions()
        write_triton_repository(self._repository, models, TritonTarget(target), folder)
        self._console.print(f"{', '.join(map(str, models))} in {folder}, for {target}")
        self._console.print(f"[bold]tritonserver --model-repository={folder} --model-control-mode=explicit[/]")

    def register(self, source: str) -> None:
        """Bring a version into the repository, or a retired one back, and make it a partition.

        Raises:
            InvalidKeyError: neither a folder nor a model version.
            ModelError: no whole version, or another one of that number is there.
        """
        folder = Path(source)
        model = self._repository.register(folder) if folder.is_dir() else self._known(source)
        self._repository.graph(model)
        self._workspace.retired_models.reinstate(model)
        with open_instance(self._settings.home) as instance:
            instance.add_dynamic_partitions(str(model_versions.name), [str(model)])
        self._console.print(f"{model} is in {self._repository.folder(model)} and takes part from now on")
        self._console.print(
            "New scenes get its products by themselves; history is a backfill of `segmentation` and what follows"
        )

    def promote(self, text: str, who: str, why: str) -> None:
        """Serve a version from now on.

        Raises:
            InvalidKeyError: no model version.
            ModelError: it is neither in the repository nor in the catalogue.
        """
        model = ModelVersion.parse(text)
        if not self._products(model):
            self._known(text)
        with self._workspace.store.open_catalogue() as catalogue:
            catalogue.promote(model, who, why)
            served, products = catalogue.count(), catalogue.count(model)
        self._console.print(f"{model} is promoted: it has {products} of the {served} products that are served")

    def retire(self, text: str, who: str, why: str) -> None:
        """Take a version out of new runs; its key goes, its products stay.

        Raises:
            InvalidKeyError: no model version.
            ModelError: it is not in the repository.
        """
        model = self._known(text)
        self._workspace.retired_models.retire(model, who, why)
        with open_instance(self._settings.home) as instance:
            instance.delete_dynamic_partition(str(model_versions.name), str(model))
        self._console.print(f"{model} is retired; its {self._products(model)} products stay")
        promotions = self._promotions()
        if promotions and promotions[0].model == model:
            self._console.print("[yellow]It is still the promoted one: products of others are served where it has none")

    def _known(self, text: str) -> ModelVersion:
        model = ModelVersion.parse(text)
        if model not in self._repository.versions():
            known = ", ".join(map(str, self._repository.versions())) or "none"
            raise ModelError(f"{model} is not in the model repository {self._repository.root} (it holds: {known})")
        return model

    def _partitions(self) -> set[str]:
        if not (self._settings.home / "dagster").is_dir():
            return set()
        with open_instance(self._settings.home) as instance:
            return set(instance.get_dynamic_partitions(str(model_versions.name)))

    def _promotions(self) -> Sequence[Promotion]:
        if not self._catalogue_exists():
            return []
        with self._workspace.store.open_catalogue(read_only=True) as catalogue:
            return catalogue.promotions()

    def _products(self, model: ModelVersion) -> int:
        if not self._catalogue_exists():
            return 0
        with self._workspace.store.open_catalogue(read_only=True) as catalogue:
            return catalogue.count(model)

    def _catalogue_exists(self) -> bool:
        return self._workspace.store.has_catalogue()
