"""What the commands share: the home, the types of options, and how an error is told."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.resources.settings import Settings
from earthsignature_assets.system.extras import missing_extra

if TYPE_CHECKING:
    from earthsignature_assets.products.store.product_store import ProductStore


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the project's errors, and an extra that is not installed, into one line and exit code 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except EarthSignatureError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            missing = missing_extra(error)
            if missing is None:
                raise
            raise click.ClickException(str(missing)) from error

    return run


home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EARTHSIGNATURE_HOME",
    default=lambda: Path.home() / "earthsignature",
    show_default="~/earthsignature",
    help="Folder of everything that is written.",
)
PEM_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DAY = click.DateTime(formats=["%Y-%m-%d"])


def settings_of(home: Path, **changes: Any) -> Settings:
    """The settings of the environment, with this home and these changes."""
    return replace(Settings.from_environment(), home=home.expanduser().resolve(), **changes)


def store_of(home: Path) -> "ProductStore":
    """The configured product store; by default that of the home."""
    from earthsignature_assets.products.store.product_store import ProductStore

    settings = settings_of(home)
    return ProductStore(settings.store or settings.home / "store", settings.catalogue)


def tokens_path(home: Path, file: Path | None) -> Path:
    """The token file that is given, or that of the home."""
    return file or home.expanduser().resolve() / "tokens.json"
