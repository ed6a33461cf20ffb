"""`earthsignature`: the one console command."""

import datetime as dt
import getpass
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.imagery.provider import PROVIDERS
from earthsignature_assets.resources.settings import Settings
from earthsignature_grpc.limits import Limits
from earthsignature_grpc.options import serving_options
from earthsignature_grpc.security import Security

if TYPE_CHECKING:
    from earthsignature_assets.cli.models import ModelDesk
    from earthsignature_assets.products.store import ProductStore

# What a command needs is imported when it runs: `--help` answers at once, and `get` needs no Dagster.


def _reported(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the project's errors into one line and exit code 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except EarthSignatureError as error:
            raise click.ClickException(str(error)) from error

    return run


_home = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="EARTHSIGNATURE_HOME",
    default=lambda: Path.home() / "earthsignature",
    show_default="~/earthsignature",
    help="Folder of everything that is written.",
)
_pem = click.Path(exists=True, dir_okay=False, path_type=Path)
_day = click.DateTime(formats=["%Y-%m-%d"])


def _settings(home: Path, **changes: Any) -> Settings:
    return replace(Settings.from_environment(), home=home.expanduser().resolve(), **changes)


def _store(home: Path) -> "ProductStore":
    from earthsignature_assets.products.store import ProductStore

    settings = _settings(home)
    return ProductStore(settings.store or settings.home / "store", settings.catalogue)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="earthsignature")
def main() -> None:
    """CORINE land cover from every clear Sentinel-2 image: discover, segment, publish, serve.

    Settings come from options or from environment variables that begin with EARTHSIGNATURE_.
    """


@main.command()
@_home
@click.option(
    "--size",
    type=click.IntRange(64, 10980),
    default=1536,
    show_default=True,
    help="Rows and columns of each simulated scene, in pixels of 10 m (10980 is a full tile).",
)
@_reported
def demo(home: Path, size: int) -> None:
    """Run the whole chain on simulated scenes, from a STAC search to an answered gRPC call."""
    from earthsignature_assets.cli.demo import run_demo

    # Its products are simulated: they stay in its home, whatever store is configured.
    run_demo(_settings(home, store="", catalogue=""), size - size % 2, Console())


@main.command()
@_home
@click.option("--tile", required=True, help="MGRS tile, such as 32TQM.")
@click.option("--date", "day", required=True, type=_day, help="Day of acquisition (UTC), such as 2025-06-21.")
@click.option("--provider", help=f"Imagery provider: {', '.join(PROVIDERS)}, or one of --provider-file.")
@click.option("--provider-file", help="TOML file of further providers.")
@click.option("--stac-api", default="", help="Another address of the provider's STAC API, for mirrors.")
@click.option("--model", default="corine-unet-v1", show_default=True, help="Model version.")
@click.option("--max-cloud", type=click.FloatRange(0, 100), help="Most cloud of the valid area, in percent.")
@_reported
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
    from earthsignature_assets.cli.run import run_tile
    from earthsignature_assets.keys import ModelVersion, parse_tile

    settings = _settings(home, area=parse_tile(tile))
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
@_home
@serving_options
@_reported
def serve(home: Path, listen: str, limits: Limits, security: Security, public_url: str) -> None:
    """Serve the published products over gRPC until interrupted.

    Tokens are read from HOME/tokens.json if it is there and --tokens names no other file.
    """
    import asyncio
    import logging

    from earthsignature_grpc.server import serve as serve_store

    home = home.expanduser().resolve()
    if security.tokens is None and _tokens_path(home, None).exists():
        security = replace(security, tokens=_tokens_path(home, None))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    asyncio.run(serve_store(_store(home), listen, limits, security, public_url, announce=click.echo))


def _tokens_path(home: Path, file: Path | None) -> Path:
    return file or home.expanduser().resolve() / "tokens.json"


@main.group()
def tokens() -> None:
    """Tokens that allow clients of the service to write: make, list, revoke."""


_token_file = click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="EARTHSIGNATURE_TOKENS",
    show_envvar=True,
    help="The token file; by default HOME/tokens.json.",
)


@tokens.command("add")
@click.argument("name")
@_home
@_token_file
@click.option("--role", type=click.Choice(["writer", "reader"]), default="writer", show_default=True)
@click.option("--days", type=click.IntRange(1), default=365, show_default=True, help="Days until it ends.")
@_reported
def add_token(name: str, home: Path, file: Path | None, role: str, days: int) -> None:
    """Make a token for NAME and show its secret, once, on standard output."""
    from earthsignature_assets.cli import tokens as command

    command.add_token(_tokens_path(home, file), name, role, days)


@tokens.command("list")
@_home
@_token_file
@_reported
def list_tokens(home: Path, file: Path | None) -> None:
    """List who holds a token, which role it has and when it ends."""
    from earthsignature_assets.cli import tokens as command

    command.list_tokens(_tokens_path(home, file), Console())


@tokens.command("revoke")
@click.argument("name")
@_home
@_token_file
@_reported
def revoke_token(name: str, home: Path, file: Path | None) -> None:
    """Remove the token of NAME; a running server refuses it from the next call on."""
    from earthsignature_assets.cli import tokens as command

    command.revoke_token(_tokens_path(home, file), name)


@main.command()
@_home
@click.option("--port", type=click.IntRange(0, 65535), default=3000, show_default=True)
@_reported
def ui(home: Path, port: int) -> None:
    """Open the Dagster UI (web server and daemon) on a home, on loopback."""
    from earthsignature_assets.cli.chain import dagster_home

    settings = _settings(home)
    os.environ.update(settings.to_environment())
    dagster_home(settings.home)
    # This is the command that starts web server and daemon together; its announced successor is another package.
    python = [sys.executable, "-W", "ignore:Function `dev_command` is superseded"]
    arguments = ["dagster", "dev", "-m", "earthsignature_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [*python, "-m", *arguments])  # noqa: S606 - our own interpreter, no shell


@main.command()
@click.option("--target", default="localhost:50051", show_default=True, help="host:port of the service.")
@click.option("--tls", is_flag=True, help="Speak TLS, with the authorities that gRPC knows.")
@click.option("--tls-ca", type=_pem, help="Authorities that may vouch for the service, PEM; implies --tls.")
@click.option("--tls-certificate", type=_pem, help="A certificate of your own (mutual TLS), PEM; with --tls-key.")
@click.option("--tls-key", type=_pem, help="The key of that certificate, PEM.")
@click.option("--area", help="WKT polygon in EPSG:4326; products that intersect it.")
@click.option("--start", type=_day, help="First day of acquisition.")
@click.option("--end", type=_day, help="Last day of acquisition.")
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
@_reported
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


_who = click.option("--who", default=getpass.getuser, show_default="your user name", help="Whose decision it is.")
_why = click.option("--why", required=True, help="The reason, for those who come later.")


@main.command()
@_home
@click.argument("products", nargs=-1)
@click.option("--tile", help="Every product of an MGRS tile, such as 32TQM.")
@click.option("--start", type=_day, help="First day of acquisition (UTC).")
@click.option("--end", type=_day, help="Last day of acquisition (UTC).")
@click.option("--all", "everything", is_flag=True, help="Every product.")
@click.option("--model", help="Model version; by default the current one of each product.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["flatgeobuf", "geopackage", "pmtiles", "geojson", "geoparquet"]),
    default="geopackage",
    show_default=True,
    help="Format of the files. PMTiles have zoom 8 to 13 and take minutes for a dense tile.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the files; by default the current one. What has the same name is replaced.",
)
@_reported
def export(home: Path, products: tuple[str, ...], form: str, folder: Path, **choice: Any) -> None:
    """Write the polygons of published PRODUCTS (Sentinel-2 names) for other programs, a file each.

    \b
    earthsignature export --tile 32TQM --as flatgeobuf --to maps
    earthsignature export S2B_MSIL2A_20260501T101559_N0512_R065_T32TQM_20260501T141516
    """  # noqa: D301 - click's mark for lines that stay as they are
    from earthsignature_assets.cli.export import export_products
    from earthsignature_assets.products.export import ExportFormat
    from earthsignature_assets.products.store import ProductStore

    settings = _settings(home)
    store = ProductStore(settings.store or settings.home / "store", settings.catalogue)
    export_products(store, ExportFormat[form.upper()], folder, Console(), names=products, **choice)


@main.group(invoke_without_command=True)
@_home
@click.pass_context
@_reported
def models(context: click.Context, home: Path) -> None:
    """Model versions: list, show, register, quantise, serve by Triton, promote, retire. Alone it lists them."""
    from earthsignature_assets.cli.models import ModelDesk

    context.obj = ModelDesk(_settings(home), Console())
    if context.invoked_subcommand is None:
        context.obj.list()


@models.command("list")
@click.pass_obj
@_reported
def list_models(desk: "ModelDesk") -> None:
    """The versions, which of them take part, and what each can tell."""
    desk.list()


@models.command("show")
@click.argument("model")
@click.pass_obj
@_reported
def show_model(desk: "ModelDesk", model: str) -> None:
    """A version's description, its card and the decisions about it."""
    desk.show(model)


@models.command("register")
@click.argument("source")
@click.pass_obj
@_reported
def register_model(desk: "ModelDesk", source: str) -> None:
    """Copy a version into the repository and make it a partition.

    SOURCE is a folder with model.json and model.onnx, or the name of a version that was retired and takes part again.
    """
    desk.register(source)


@models.command("quantise")
@click.argument("model")
@click.option("--version", type=click.IntRange(1), required=True, help="Number of the version in int8.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Real patches for the ranges: folder of eurosat_ms_geotorchai and s2_hateg_34TFR_20181016.",
)
@click.pass_obj
@_reported
def quantise_model(desk: "ModelDesk", model: str, version: int, data: Path) -> None:
    """Write a version in int8: faster on processors, nearly the same classes. Both are measured."""
    desk.quantise(model, version, data)


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
@_reported
def lay_out_for_triton(desk: "ModelDesk", models: tuple[str, ...], target: str, folder: Path) -> None:
    """Write a repository for NVIDIA Triton servers: MODELS, or all."""
    desk.lay_out_for_triton(models, target, folder)


@models.command("promote")
@click.argument("model")
@_who
@_why
@click.pass_obj
@_reported
def promote_model(desk: "ModelDesk", model: str, who: str, why: str) -> None:
    """Serve a version for every product that it has; promoting the older one again is the way back."""
    desk.promote(model, who, why)


@models.command("retire")
@click.argument("model")
@_who
@_why
@click.pass_obj
@_reported
def retire_model(desk: "ModelDesk", model: str, who: str, why: str) -> None:
    """Take a version out of new runs and out of the UI; what it published stays."""
    desk.retire(model, who, why)


@main.command()
@_home
@click.option("--scene", "part", default="", help="Only scenes whose key contains this: 2026-05, T32TQM.")
@click.option("--model", help="Only this model version; by default each one that takes part.")
@click.option("--run", "resume", is_flag=True, help="Make what is missing, here and now, one scene after another.")
@_reported
def missing(home: Path, part: str, model: str | None, resume: bool) -> None:
    """List the days, scenes and products that are not there yet; with --run, make them."""
    from earthsignature_assets.cli.missing import report_missing
    from earthsignature_assets.keys import ModelVersion

    report_missing(_settings(home), Console(), part, ModelVersion.parse(model) if model else None, resume)


@main.command()
@_home
@_reported
def verify(home: Path) -> None:
    """Re-check every checksum and code of every product; name what is damaged."""
    from earthsignature_assets.cli import archive

    archive.verify_store(_store(home), Console())


@main.command()
@_home
@click.option(
    "--older-than", "hours", type=click.FloatRange(0), default=24.0, show_default=True, help="Hours of grace."
)
@_reported
def sweep(home: Path, hours: float) -> None:
    """Remove superseded content and what stopped publications left."""
    from earthsignature_assets.cli import archive

    archive.sweep_store(_store(home), dt.timedelta(hours=hours), Console())


@main.group()
def catalogue() -> None:
    """The catalogue of the published products: rebuild it, export it."""


@catalogue.command("rebuild")
@_home
@_reported
def rebuild_catalogue(home: Path) -> None:
    """Make the catalogue say what the store holds, from the products' items alone."""
    from earthsignature_assets.cli import archive

    archive.rebuild_catalogue(_store(home), Console())


@catalogue.command("export")
@_home
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--model", help="Model version; by default the current one of each scene.")
@_reported
def export_catalogue(home: Path, folder: Path, model: str | None) -> None:
    """Write a static STAC catalogue, with stac-geoparquet, into FOLDER."""
    from earthsignature_assets.cli import archive
    from earthsignature_assets.keys import ModelVersion

    archive.export_catalogue(_store(home), folder, ModelVersion.parse(model) if model else None, Console())


if __name__ == "__main__":
    main()
