"""`earthsignature tokens`: who may write through the service."""

import datetime as dt
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from earthsignature_grpc.access.token_file import Role, TokenFile


def add_token(path: Path, name: str, role: str, days: int) -> None:
    """Make a token; its secret goes to standard output, once.

    Raises:
        TokenError: the name is taken or no name, or the file cannot be written.
    """
    secret = TokenFile(path).add(name, Role(role), dt.timedelta(days=days))
    click.echo(f"{name} may call as {role} for {days} days with this token, which is shown only now:", err=True)
    click.echo(secret)


def list_tokens(path: Path, console: Console) -> None:
    """Show the tokens of a file; their secrets are not in it.

    Raises:
        TokenError: the file cannot be read.
    """
    now = dt.datetime.now(dt.UTC)
    table = Table("name", "role", "made", "ends", "")
    for token in TokenFile(path).tokens():
        days = [moment.strftime("%Y-%m-%d") for moment in (token.created, token.expires)]
        table.add_row(token.name, token.role, *days, "" if token.valid_at(now) else "expired")
    console.print(table if table.row_count else f"{path} holds no token; `earthsignature tokens add NAME` makes one")


def revoke_token(path: Path, name: str) -> None:
    """Remove a token.

    Raises:
        TokenError: there is none of that name, or the file cannot be written.
    """
    TokenFile(path).revoke(name)
    click.echo(f"{name} is revoked: servers refuse it from the next call on")
