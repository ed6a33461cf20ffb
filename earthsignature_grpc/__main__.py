"""`python -m earthsignature_grpc --store DIR --listen 127.0.0.1:50051`: the service as a separate process."""

import asyncio
import logging
import sys

import click

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.system.extras import missing_extra, require_service
from earthsignature_grpc.access.security import Security
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.server.options import serving_options


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--store", required=True, help="Folder of the product store, or s3://bucket/prefix.")
@click.option(
    "--catalogue",
    envvar="EARTHSIGNATURE_CATALOGUE",
    show_envvar=True,
    default="",
    help="postgresql://… or a SQLite file; by default the one in the store's folder.",
)
@serving_options
def main(store: str, catalogue: str, listen: str, limits: Limits, security: Security, public_url: str) -> None:
    """Serve a product store over gRPC until interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        require_service()
        from earthsignature_assets.products.store.product_store import ProductStore
        from earthsignature_grpc.server.server import serve

        asyncio.run(serve(ProductStore(store, catalogue), listen, limits, security, public_url, announce=click.echo))
    except EarthSignatureError as error:
        raise click.ClickException(str(error)) from error
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        raise click.ClickException(str(missing)) from error


if __name__ == "__main__":
    main(prog_name="python -m earthsignature_grpc")
