"""Results of a run: `build/bench.json`, a list of rows, and the table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from rich.table import Table

from benchmarks.measure import Result
from benchmarks.row import BenchmarkError, Row
from earthsignature_assets.system.atomic import write_whole


def read_results(path: Path) -> dict[str, Result]:
    """Read the results of earlier runs by row; none where there is no file.

    Raises:
        BenchmarkError: the file is damaged.
    """
    if not path.exists():
        return {}
    names = {field.name for field in fields(Result)}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {entry["name"]: Result(**{name: entry[name] for name in names}) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{path} cannot be read ({error!r}): delete it, and run every row again") from error


def write_results(results: dict[str, Result], rows: Sequence[Row], path: Path) -> None:
    """Write the results of existing rows in their order, replacing the file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [asdict(results[row.name]) for row in rows if row.name in results]
    write_whole(path, (json.dumps(entries, indent=2, ensure_ascii=False) + "\n").encode())


def table_of(results: dict[str, Result], rows: Sequence[Row]) -> Table:
    """Create the table of the results; × is the ratio to the peer, above 1 where EarthSignature is better."""
    table = Table(title="EarthSignature, medians; × above 1: ahead of the peer", title_justify="left")
    for heading in ("row", "value", "unit", "peers", "target", "met", "peak MB"):
        table.add_column(heading, justify="right" if heading in ("value", "peak MB") else "left")
    for row in rows:
        if (result := results.get(row.name)) is None:
            continue
        peers = (f"{name} {peer:.4g} ({row.ratio(result.value, peer):.2f}×)" for name, peer in result.peers.items())
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[result.met]
        table.add_row(
            row.name,
            f"{result.value:.4g}",
            result.unit,
            "\n".join(peers),
            result.target or "-",
            met,
            f"{result.peak_mb:.0f}",
        )
    return table
