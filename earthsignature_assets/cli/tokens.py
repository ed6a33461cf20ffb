"""`earthsignature tokens`: the clients that may write through the service."""

import datetime as dt
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from earthsignature_assets.system.command_line import settings_options
from earthsignature_assets.system.settings import Settings

# A command imports what it needs when it runs: `--help` answers at once.

_file_options = settings_options("home", "tokens", flags={"tokens": "--file"})


@click.group()
def tokens() -> None:
    """Make, list or revoke tokens, which allow clients of the service to write."""


@tokens.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["writer", "reader"]), default="writer", show_default=True)
@click.option("--days", type=click.IntRange(1), default=365, show_default=True, help="Days until it expires.")
@_file_options
def add_token(name: str, settings: Settings, role: str, days: int) -> None:
    """Make a token for NAME and print its secret, once, on standard output."""
    from earthsignature_grpc.access.token_file import Role, TokenFile

    secret = TokenFile(tokens_path(settings)).add(name, Role(role), dt.timedelta(days=days))
    click.echo(f"{name} may call as {role} for {days} days with this token, which is shown only now:", err=True)
    click.echo(secret)


@tokens.command("list")
@_file_options
def list_tokens(settings: Settings) -> None:
    """List the holders of tokens, their roles and the days of expiry."""
    from earthsignature_grpc.access.token_file import TokenFile

    path, now = tokens_path(settings), dt.datetime.now(dt.UTC)
    table = Table("name", "role", "made", "ends", "")
    for token in TokenFile(path).tokens():
        days = [moment.strftime("%Y-%m-%d") for moment in (token.created, token.expires)]
        table.add_row(token.name, token.role, *days, "" if token.valid_at(now) else "expired")
    empty = f"{path} holds no token; `earthsignature tokens add NAME` makes one"
    Console().print(table if table.row_count else empty)


@tokens.command("revoke")
@click.argument("name")
@_file_options
def revoke_token(name: str, settings: Settings) -> None:
    """Remove the token of NAME; a running server refuses it from the next call on."""
    from earthsignature_grpc.access.token_file import TokenFile

    TokenFile(tokens_path(settings)).revoke(name)
    click.echo(f"{name} is revoked: servers refuse it from the next call on")


def tokens_path(settings: Settings) -> Path:
    """Return the configured token file; by default that of the home."""
    return settings.tokens or settings.home / "tokens.json"
