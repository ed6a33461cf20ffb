"""`python -m earthsignature_grpc --store DIR --listen 127.0.0.1:50051`: the service in a separate process."""

import asyncio
import logging
import sys

import click

from earthsignature_assets.system.closed_environment import close_environment
from earthsignature_assets.system.command_line import settings_options
from earthsignature_assets.system.extras import require_service
from earthsignature_assets.system.settings import Settings
from earthsignature_grpc.server.options import SERVER_SETTINGS, limits_of, security_of


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--store", required=True, help="Folder of the product store, or s3://bucket/prefix.")
@settings_options("catalogue", *SERVER_SETTINGS, home_file=False)
def main(settings: Settings, store: str) -> None:
    """Serve a product store over gRPC until interrupted."""
    close_environment()
    require_service()
    from earthsignature_assets.products.store.product_store import ProductStore
    from earthsignature_grpc.server.server import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    products, limits, security = ProductStore(store, settings.catalogue), limits_of(settings), security_of(settings)
    asyncio.run(serve(products, settings.listen, limits, security, settings.public_url, announce=click.echo))


if __name__ == "__main__":
    main(prog_name="python -m earthsignature_grpc")
