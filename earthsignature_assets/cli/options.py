"""Options that several commands share."""

from typing import TYPE_CHECKING

import click

from earthsignature_assets.system.command_line import settings_options
from earthsignature_assets.system.settings import Settings

if TYPE_CHECKING:
    from earthsignature_assets.products.store.product_store import ProductStore

deployment_options = settings_options("home")
"""`--home` and `--config`; the command gets `settings`."""

DAY = click.DateTime(formats=["%Y-%m-%d"])
MOST_LINES = 50
"""Lines that a list on the screen shows at most."""


def store_of(settings: Settings) -> "ProductStore":
    """Open the configured product store; by default that of the home."""
    from earthsignature_assets.products.store.product_store import ProductStore

    return ProductStore(settings.store or settings.home / "store", settings.catalogue)
