"""`earthsignature`: the one console command."""

import datetime as dt
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from earthsignature_assets.cli.archive import catalogue, sweep, verify
from earthsignature_assets.cli.export import export
from earthsignature_assets.cli.models import models
from earthsignature_assets.cli.options import DAY, deployment_options, store_of
from earthsignature_assets.cli.tokens import tokens, tokens_path
from earthsignature_assets.keys import DEFAULT_MODEL, ModelVersion, parse_tile
from earthsignature_assets.system.closed_environment import close_environment
from earthsignature_assets.system.command_line import reported, settings_options
from earthsignature_assets.system.extras import require_platform, require_service
from earthsignature_assets.system.settings import DEFAULT_SOURCE, SETTINGS, Settings
from earthsignature_grpc.server.options import SERVER_SETTINGS, limits_of, security_of

# A command imports what it needs when it runs: `--help` answers at once, and `get` needs no Dagster.

_PEM_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="earthsignature")
def main() -> None:
    """CORINE land cover from every clear Sentinel-2 image: discover, segment, publish, serve.

    Settings come from options, from environment variables that begin with EARTHSIGNATURE_, or from the file
    earthsignature.toml in the home; `earthsignature settings` lists them.
    """
    close_environment()


@main.command()
@click.option(
    "--size",
    type=click.IntRange(64, 10980),
    default=1536,
    show_default=True,
    help="Rows and columns of each simulated scene, in pixels of 10 m (10980 is a full tile).",
)
@deployment_options
def demo(settings: Settings, size: int) -> None:
    """Run the whole chain on simulated scenes, from a STAC search to an answered gRPC call."""
    require_platform()
    from earthsignature_assets.cli.demo import run_demo

    # Its products are simulated: they stay in its home, whatever store is configured.
    run_demo(replace(settings, store="", catalogue=""), size - size % 2, Console())


@main.command()
@click.option("--tile", required=True, help="MGRS tile, such as 32TQM.")
@click.option("--date", "day", required=True, type=DAY, help="Day of acquisition (UTC), such as 2025-06-21.")
@click.option("--model", default=str(DEFAULT_MODEL), show_default=True, help="Model version.")
@settings_options(
    "home",
    "provider",
    "provider_file",
    "stac_api",
    "max_cloud_percent",
    flags={"max_cloud_percent": "--max-cloud"},
)
def run(settings: Settings, tile: str, day: dt.datetime, model: str) -> None:
    """Discover, segment and publish one tile of one day."""
    require_platform()
    from earthsignature_assets.cli.run import run_tile

    settings = replace(settings, area=parse_tile(tile))
    run_tile(settings, tile, day.date(), ModelVersion.parse(model), Console())


@main.command()
@settings_options("home", *SERVER_SETTINGS)
def serve(settings: Settings) -> None:
    """Serve the published products over gRPC until interrupted.

    Tokens are read from HOME/tokens.json if it is there and --tokens names no other file.
    """
    require_service()
    import asyncio
    import logging

    from earthsignature_grpc.server.server import serve as serve_store

    path = tokens_path(settings)
    if path.exists():
        settings = replace(settings, tokens=path)
    limits, security = limits_of(settings), security_of(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    store, listen = store_of(settings), settings.listen
    asyncio.run(serve_store(store, listen, limits, security, settings.public_url, announce=click.echo))


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="Port of the web server.")
@settings_options("home")
def ui(settings: Settings, port: int) -> None:
    """Open the Dagster UI (web server and daemon) on a home, on loopback."""
    require_platform()
    from earthsignature_assets.cli.chain import dagster_home

    os.environ.update(settings.to_environment())
    dagster_home(settings.home)
    # This is the command that starts web server and daemon together; its announced successor is another package.
    python = [sys.executable, "-W", "ignore:Function `dev_command` is superseded"]
    arguments = ["dagster", "dev", "-m", "earthsignature_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [*python, "-m", *arguments])  # noqa: S606 - our own interpreter, no shell


@main.command()
@click.option("--target", default="localhost:50051", show_default=True, help="host:port of the service.")
@click.option("--tls", is_flag=True, help="Use TLS, with the authorities that gRPC knows.")
@click.option("--tls-ca", type=_PEM_FILE, help="Authorities that may vouch for the service, PEM; implies --tls.")
@click.option("--tls-certificate", type=_PEM_FILE, help="Your certificate (mutual TLS), PEM; with --tls-key.")
@click.option("--tls-key", type=_PEM_FILE, help="The key of that certificate, PEM.")
@click.option("--area", help="WKT polygon in EPSG:4326; products that intersect it.")
@click.option("--start", type=DAY, help="First day of acquisition.")
@click.option("--end", type=DAY, help="Last day of acquisition.")
@click.option("--product", "products", multiple=True, help="Sentinel-2 product name; may be repeated.")
@click.option("--category", "categories", multiple=True, help="CORINE code or class name; may be repeated.")
@click.option("--max-cloud", type=click.FloatRange(0, 100), help="Maximum cloud cover of the valid area, in percent.")
@click.option("--model", help="Model version; by default the current one of each product.")
@click.option("--limit", type=click.IntRange(1), help="Maximum number of products, the newest.")
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
    """Download products from a service: rasters, polygons, pictures, or their names.

    Each written file gets a line on standard output. Files appear whole or not at all: the same command resumes an
    interrupted download, and keeps files that are complete. The exit status is 0 on success, also if no product
    matches, and 1 otherwise.
    """
    from earthsignature_assets.cli.get import fetch_products
    from earthsignature_grpc.client import EarthSignatureClient, Tls

    encrypted = tls or tls_ca or tls_certificate or tls_key
    with EarthSignatureClient(target, tls=Tls(tls_ca, tls_certificate, tls_key) if encrypted else None) as client:
        complete = fetch_products(
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
    if not complete:
        sys.exit(1)


@main.command()
@click.option("--scene", "part", default="", help="Only scenes whose key contains this: 2026-05, T32TQM.")
@click.option("--model", help="Only this model version; by default each active one.")
@click.option("--run", "resume", is_flag=True, help="Make the missing days and products here, one after another.")
@deployment_options
def missing(settings: Settings, part: str, model: str | None, resume: bool) -> None:
    """List the missing days, scenes and products; with --run, make them."""
    require_platform()
    from earthsignature_assets.cli.missing import report_missing

    report_missing(settings, Console(), part, ModelVersion.parse(model) if model else None, resume)


@main.command("settings")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an object of value and source for each setting.")
@deployment_options
def show_settings(settings: Settings, as_json: bool) -> None:
    """List each setting with its value and its source: option, environment, the path of a file, or default.

    Credentials in addresses are redacted.
    """
    rows = {
        name: {"value": setting.display(settings), "source": settings.sources.get(name, DEFAULT_SOURCE)}
        for name, setting in SETTINGS.items()
    }
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table("setting", "value", "source")
    for name, row in rows.items():
        text = str(row["value"])
        table.add_row(name, text or f"[dim]{SETTINGS[name].default_text.replace('`', '')}[/]", str(row["source"]))
    Console().print(table)


for command in (tokens, models, export, verify, sweep, catalogue):
    main.add_command(command)

if __name__ == "__main__":
    main()
