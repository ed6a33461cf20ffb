"""`earthsignature tokens`: who may write through the service."""

from pathlib import Path

import click
from rich.console import Console

from earthsignature_assets.cli.options import home_option, reported, tokens_path

# What a command needs is imported when it runs: `--help` answers at once.


@click.group()
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
@home_option
@_token_file
@click.option("--role", type=click.Choice(["writer", "reader"]), default="writer", show_default=True)
@click.option("--days", type=click.IntRange(1), default=365, show_default=True, help="Days until it ends.")
@reported
def add_token(name: str, home: Path, file: Path | None, role: str, days: int) -> None:
    """Make a token for NAME and show its secret, once, on standard output."""
    from earthsignature_assets.cli import tokens as command

    command.add_token(tokens_path(home, file), name, role, days)


@tokens.command("list")
@home_option
@_token_file
@reported
def list_tokens(home: Path, file: Path | None) -> None:
    """List who holds a token, which role it has and when it ends."""
    from earthsignature_assets.cli import tokens as command

    command.list_tokens(tokens_path(home, file), Console())


@tokens.command("revoke")
@click.argument("name")
@home_option
@_token_file
@reported
def revoke_token(name: str, home: Path, file: Path | None) -> None:
    """Remove the token of NAME; a running server refuses it from the next call on."""
    from earthsignature_assets.cli import tokens as command

    command.revoke_token(tokens_path(home, file), name)
