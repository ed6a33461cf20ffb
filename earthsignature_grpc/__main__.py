"""`python -m earthsignature_grpc --store DIR --listen 127.0.0.1:50051`: the service in a process of its own."""

import asyncio
import logging
import sys
from pathlib import Path

import click

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_grpc.limits import Limits
from earthsignature_grpc.options import serving_options
from earthsignature_grpc.security import Security
from earthsignature_grpc.server import serve


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--store", type=click.Path(path_type=Path), required=True, help="Folder of the product store.")
@serving_options
def main(store: Path, listen: str, limits: Limits, security: Security) -> None:
    """Serve a product store over gRPC until interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(serve(store, listen, limits, security, announce=click.echo))
    except EarthSignatureError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="python -m earthsignature_grpc")
