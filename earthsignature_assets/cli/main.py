"""`earthsignature`: the one console command."""

import datetime as dt
import os
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from earthsignature_assets.cli.archive_commands import catalogue, export, sweep, verify
from earthsignature_assets.cli.model_commands import models
from earthsignature_assets.cli.options import DAY, PEM_FILE, home_option, reported, settings_of, store_of, tokens_path
from earthsignature_assets.cli.token_commands import tokens
from earthsignature_assets.imagery.providers.provider import PROVIDERS
from earthsignature_assets.keys import DEFAULT_MODEL
from earthsignature_assets.system.extras import require_platform, require_service
from earthsignature_grpc.access.security import Security
from earthsignature_grpc.calls.limits import Limits
from earthsignature_grpc.server.options import serving_options

# What a command needs is imported when it runs: `--help` answers at once, and `get` needs no Dagster.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="earthsignature")
def main() -> None:
    """CORINE land cover from every clear Sentinel-2 image: discover, segment, publish, serve.

    Settings come from options or from environment variables that begin with EARTHSIGNATURE_.
    """


@main.command()
@home_option
@click.option(
    "--size",
    type=click.IntRange(64, 10980),
    default=1536,
    show_default=True,
    help="Rows and columns of each simulated scene, in pixels of 10 m (10980 is a full tile).",
)
@reported
def demo(home: Path, size: int) -> None:
    """Run the whole chain on simulated scenes, from a STAC search to an answered gRPC call."""
    require_platform()
    from earthsignature_assets.cli.demo import run_demo

    # Its products are simulated: they stay in its home, whatever store is configured.
    run_demo(settings_of(home, store="", catalogue=""), size - size % 2, Console())


@main.command()
@home_option
@click.option("--tile", required=True, help="MGRS tile, such as 32TQM.")
@click.option("--date", "day", required=True, type=DAY, help="Day of acquisition (UTC), such as 2025-06-21.")
@click.option("--provider", help=f"Imagery provider: {', '.join(PROVIDERS)}, or one of --provider-file.")
@click.option("--provider-file", help="TOML file of further providers.")
@click.option("--stac-api", default="", help="Another address of the provider's STAC API, for mirrors.")
@click.option("--model", default=str(DEFAULT_MODEL), show_default=True, help="Model version.")
@click.option("--max-cloud", type=click.FloatRange(0, 100), help="Most cloud of the valid area, in percent.")
@reported
def run(
    home: Path,
    tile: str,
    day: dt.datetime,
    provider: str | None,
    provider_file: str | None,
    stac_api: str,
    model: str,
    max_cloud: float | None,
) -> None:
    """Discover, segment and publish one tile of one day."""
    require_platform()
    from earthsignature_assets.cli.run import run_tile
    from earthsignature_assets.keys import ModelVersion, parse_tile

    settings = settings_of(home, area=parse_tile(tile))
    if provider:
        settings = replace(settings, provider=provider)
    if provider_file:
        settings = replace(settings, provider_file=provider_file)
    if stac_api:
        settings = replace(settings, stac_api=stac_api)
    if max_cloud is not None:
        settings = replace(settings, max_cloud_percent=max_cloud)
    run_tile(settings, tile, day.date(), ModelVersion.parse(model), Console())


@main.command()
@home_option
@serving_options
@reported
def serve(home: Path, listen: str, limits: Limits, security: Security, public_url: str) -> None:
    """Serve the published products over gRPC until interrupted.

    Tokens are read from HOME/tokens.json if it is there and --tokens names no other file.
    """
    require_service()
    import asyncio
    import logging

    from earthsignature_grpc.server.server import serve as serve_store

    home = home.expanduser().resolve()
    if security.tokens is None and tokens_path(home, None).exists():
        security = replace(security, tokens=tokens_path(home, None))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    asyncio.run(serve_store(store_of(home), listen, limits, security, public_url, announce=click.echo))


@main.command()
@home_option
@click.option("--port", type=click.IntRange(0, 65535), default=3000, show_default=True)
@reported
def ui(home: Path, port: int) -> None:
    """Open the Dagster UI (web server and daemon) on a home, on loopback."""
    require_platform()
    from earthsignature_assets.cli.chain import dagster_home

    settings = settings_of(home)
    os.environ.update(settings.to_environment())
    dagster_home(settings.home)
    # This is the command that starts web server and daemon together; its announced successor is another package.
    python = [sys.executable, "-W", "ignore:Function `dev_command` is superseded"]
    arguments = ["dagster", "dev", "-m", "earthsignature_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [*python, "-m", *arguments])  # noqa: S606 - our own interpreter, no shell


@main.command()
@click.option("--target", default="localhost:50051", show_default=True, help="host:port of the service.")
@click.option("--tls", is_flag=True, help="Speak TLS, with the authorities that gRPC knows.")
@click.option("--tls-ca", type=PEM_FILE, help="Authorities that may vouch for the service, PEM; implies --tls.")
@click.option("--tls-certificate", type=PEM_FILE, help="A certificate of your own (mutual TLS), PEM; with --tls-key.")
@click.option("--tls-key", type=PEM_FILE, help="The key of that certificate, PEM.")
@click.option("--area", help="WKT polygon in EPSG:4326; products that intersect it.")
@click.option("--start", type=DAY, help="First day of acquisition.")
@click.option("--end", type=DAY, help="Last day of acquisition.")
@click.option("--product", "products", multiple=True, help="Sentinel-2 product name; may be repeated.")
@click.option("--category", "categories", multiple=True, help="CORINE code or class name; may be repeated.")
@click.option("--max-cloud", type=click.FloatRange(0, 100), help="Most cloud of the valid area, in percent.")
@click.option("--model", help="Model version; by default the current one of each product.")
@click.option("--limit", type=click.IntRange(1), help="At most this many products, the newest.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["geotiff", "geoparquet", "geojson", "picture", "ids"]),
    default="geotiff",
    show_default=True,
    help="Rasters, polygons, a PNG in the official colours with its legend, or names only.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the files; by default the current one.",
)
@reported
def get(
    target: str,
    tls: bool,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    area: str | None,
    start: dt.datetime | None,
    end: dt.datetime | None,
    products: tuple[str, ...],
    categories: tuple[str, ...],
    max_cloud: float | None,
    model: str | None,
    limit: int | None,
    form: str,
    folder: Path,
) -> None:
    """Fetch products from a service: rasters, polygons, pictures, or their names.

    Each file that is written gets a line on standard output. Files appear whole or not at all: a download that was
    interrupted goes on where it stopped when the same command is given again, and what is there already stays. The exit
    status is 0 if all went well, also where nothing matches, and 1 otherwise.
    """
    from earthsignature_assets.cli.get import fetch_products
    from earthsignature_grpc.client import EarthSignatureClient, Tls

    encrypted = tls or tls_ca or tls_certificate or tls_key
    with EarthSignatureClient(target, tls=Tls(tls_ca, tls_certificate, tls_key) if encrypted else None) as client:
        all_well = fetch_products(
            client,
            form,
            folder,
            {
                "area": area,
                "start": start.date() if start else None,
                "end": end.date() if end else None,
                "product_ids": products,
                "categories": categories,
                "max_cloud_percent": max_cloud,
                "model": model,
            },
            limit,
            Console(stderr=True),
        )
    if not all_well:
        sys.exit(1)


@main.command()
@home_option
@click.option("--scene", "part", default="", help="Only scenes whose key contains this: 2026-05, T32TQM.")
@click.option("--model", help="Only this model version; by default each one that takes part.")
@click.option("--run", "resume", is_flag=True, help="Make what is missing, here and now, one scene after another.")
@reported
def missing(home: Path, part: str, model: str | None, resume: bool) -> None:
    """List the days, scenes and products that are not there yet; with --run, make them."""
    require_platform()
    from earthsignature_assets.cli.missing import report_missing
    from earthsignature_assets.keys import ModelVersion

    report_missing(settings_of(home), Console(), part, ModelVersion.parse(model) if model else None, resume)


for command in (tokens, models, export, verify, sweep, catalogue):
    main.add_command(command)

if __name__ == "__main__":
    main()
