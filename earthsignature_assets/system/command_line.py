"""Parts that every command line of the project shares: options from settings, and errors as one line."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from earthsignature_assets.errors import EarthSignatureError
from earthsignature_assets.system.extras import missing_extra
from earthsignature_assets.system.settings import CONFIG_VARIABLE, SETTINGS, SETTINGS_FILE, Setting, Settings

Command = Callable[..., None]


def reported(command: Command) -> Command:
    """Turn the project's errors, and a missing extra, into one line and exit code 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except EarthSignatureError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            missing = missing_extra(error)
            if missing is None:
                raise
            raise click.ClickException(str(missing)) from error

    return run


def settings_options(
    *names: str, flags: dict[str, str] | None = None, home_file: bool = True
) -> Callable[[Command], Command]:
    """Give a command `--config` and an option for each named setting; it gets them all as `settings`.

    Args:
        names: names of the settings.
        flags: other names of options, by setting; `max_cloud_percent` is `--max-cloud` where a command says so.
        home_file: read the settings file of the home where no other is named.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(*arguments: Any, config: Path | None, **options: Any) -> None:
            given = {name: options.pop(name) for name in names}
            command(*arguments, settings=Settings.load({"config": config, **given}, home_file=home_file), **options)

        in_home = f"; default: HOME/{SETTINGS_FILE}" if home_file else ""
        decorated: Command = click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help=f"TOML file of settings.  [env var: {CONFIG_VARIABLE}{in_home}]",
        )(reported(run))
        for name in reversed(names):
            decorated = _option(SETTINGS[name], (flags or {}).get(name))(decorated)
        return decorated

    return decorate


def _option(setting: Setting, flag: str | None) -> Callable[[Command], Command]:
    text = f"{setting.help}  [env var: {setting.variable}; default: {setting.default_text}]"
    return click.option(
        flag or f"--{setting.name.replace('_', '-')}",
        setting.name,
        type=_type(setting),
        default=None,
        is_flag=setting.kind is bool,
        help=text.replace("`", ""),
    )


def _type(setting: Setting) -> Any:
    if setting.kind in (int, float):
        number_range: Any = click.IntRange if setting.kind is int else click.FloatRange
        return number_range(min=setting.at_least, max=setting.at_most)
    return {str: click.STRING, bool: click.BOOL, Path: click.Path(path_type=Path)}[setting.kind]
