"""`python -m benchmarks`: measure the rows and write them down."""

import sys
import time
from pathlib import Path

import click
from rich.console import Console

from benchmarks.measure import measure
from benchmarks.registry import ROWS, row_named
from benchmarks.results import read_results, table_of, write_results
from benchmarks.row import BenchmarkError, Options


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", metavar="NAME", help="Measure only this row; the file keeps the others.")
@click.option("--list", "list_rows", is_flag=True, help="List the rows and stop.")
@click.option(
    "--size",
    type=click.IntRange(64, 10980),
    default=Options.size,
    show_default=True,
    envvar="BENCH_SIZE",
    show_envvar=True,
    help="Side of the simulated scene in pixels of 10 m.",
)
@click.option(
    "--products",
    type=click.IntRange(1000),
    default=Options.products,
    show_default=True,
    envvar="BENCH_PRODUCTS",
    show_envvar=True,
    help="Products in the catalogue.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/bench.json"),
    show_default=True,
    help="JSON file of the results.",
)
def main(only: str | None, list_rows: bool, size: int, products: int, output: Path) -> None:
    """Measure EarthSignature and its peers: medians, ratios, peak memory, targets."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    options = Options(size - size % 2, products)
    if list_rows:
        for row in ROWS:
            console.print(f"[bold]{row.name}[/]  {row.filled(options).title}", highlight=False)
        return
    try:
        rows = [row.filled(options) for row in ([row_named(only)] if only else ROWS)]
        results = read_results(output) if only else {}
    except BenchmarkError as error:
        raise click.ClickException(str(error)) from error
    failed = []
    started = time.monotonic()
    for row in rows:
        console.print(f"[bold]{row.name}[/]: {row.title}", highlight=False)
        if reason := row.absent():
            console.print(f"  left out: {reason}", highlight=False)
            continue
        try:
            results[row.name] = measure(row, options, lambda line: console.print(f"  {line}", highlight=False))
        except BenchmarkError as error:
            failed.append(row.name)
            console.print(f"  [red]{error}[/]", highlight=False)
            continue
        write_results(results, ROWS, output)
    console.print(table_of(results, ROWS))
    console.print(f"{output}, {time.monotonic() - started:.0f} s", highlight=False)
    if failed:
        raise click.ClickException(f"these rows failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
