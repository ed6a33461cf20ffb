"""What the files in deploy/ name must exist."""

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from celery.bin.celery import celery
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import dagster_webserver

from earthsignature_assets.cli.main import main
from earthsignature_assets.system.settings import Settings

PROGRAMS: dict[str, click.Command] = {
    "celery": celery,
    "dagster": create_dagster_cli(),
    "dagster-daemon": create_dagster_daemon_cli(),
    "dagster-webserver": dagster_webserver,
    "earthsignature": main,
}


@pytest.fixture(scope="session")
def check_command() -> Callable[[list[str]], None]:
    """Assert that one of our programs, its subcommands and its options exist."""

    def check(command: list[str]) -> None:
        known, words = _options(command)
        for option in (word for word in command if word.startswith("--")):
            assert option in known, f"{' '.join(words)} has no {option}"

    return check


def _options(command: list[str]) -> tuple[set[str], list[str]]:
    """The options of a program and of the subcommands that its command line names."""
    program, words = PROGRAMS[command[0]], [command[0]]
    known = _options_of(program)
    for word in command[1:]:
        if isinstance(program, click.Group) and (found := program.get_command(click.Context(program), word)):
            program = found
            words.append(word)
            known |= _options_of(program)
    assert not isinstance(program, click.Group), f"{' '.join(words)} is no whole command"
    return known, words


def _options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@pytest.fixture(scope="session")
def known_variables() -> set[str]:
    """Every environment variable of ours that a program reads."""
    options = [parameter for command in main.commands.values() for parameter in command.params]
    return set(Settings(home=Path()).to_environment()) | {
        option.envvar for option in options if isinstance(option.envvar, str)
    }
