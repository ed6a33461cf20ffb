"""Measurement of a row: contenders take turns, each in a separate process, and their medians are compared."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from statistics import median
from types import TracebackType
from typing import Self

from benchmarks.row import BenchmarkError, Options, Row

Progress = Callable[[str], None]

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Result:
    """Result of a row: medians in its unit, and the peak memory of EarthSignature's process in MiB."""

    name: str
    value: float
    unit: str
    target: str | None
    met: bool | None
    peers: Mapping[str, float]
    peak_mb: float


class Worker:
    """One contender in a separate process."""

    def __init__(self, row: Row, role: str, options: Options) -> None:
        self._what = f"row {row.name}, {role}"
        command = [sys.executable, "-m", "benchmarks.worker", row.module, row.name, role]
        self._process = subprocess.Popen(
            [*command, json.dumps(options.to_json())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run_once(self) -> float:
        """Run the contender once, and return its value.

        Raises:
            BenchmarkError: the contender failed; its message is on standard error.
        """
        assert self._process.stdin
        with suppress(BrokenPipeError):  # the process has ended: reading its answer fails
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._answer()

    def finish(self) -> float:
        """End the process, and return its peak memory in MiB.

        Raises:
            BenchmarkError: the process failed.
        """
        assert self._process.stdin
        self._process.stdin.close()
        peak_mb = self._answer()
        self._process.wait()
        return peak_mb

    def _answer(self) -> float:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self._what} failed with exit code {self._process.wait()}: see above")
        return float(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        # At the end of its input the worker stops its servers; when killed, it would leave them running.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def measure(row: Row, options: Options, progress: Progress = lambda _: None) -> Result:
    """Measure a row and its peers.

    Every contender runs once uncounted (imports, compilation, caches) unless the row is too long; then they take turns,
    so that a disturbance of the machine affects all of them. Peers that cannot run here are left out.

    Raises:
        BenchmarkError: a contender failed.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    if row.prepare:
        progress("preparing")
        with Worker(row, "prepare", options) as worker:
            worker.finish()
    absent = {name: reason for name in row.peers if (reason := row.absent(name))}
    for name, reason in absent.items():
        progress(f"without {name}: {reason}")
    row = replace(row, peers={name: peer for name, peer in row.peers.items() if name not in absent})
    roles = {"own": row.name, **{f"peer:{name}": name for name in row.peers}}
    values: dict[str, list[float]] = {role: [] for role in roles}
    with ExitStack() as stack:
        workers = {role: stack.enter_context(Worker(row, role, options)) for role in roles}
        for role, worker in workers.items() if row.warm_up else ():
            progress(f"warming up {roles[role]}")
            worker.run_once()
        for repetition in range(1, row.repetitions + 1):
            for role, worker in workers.items():
                values[role].append(worker.run_once())
            latest = ", ".join(f"{roles[role]} {taken[-1]:.4g}" for role, taken in values.items())
            progress(f"{repetition} of {row.repetitions}: {latest} {row.unit}")
        peak_mb = workers["own"].finish()
    return result_of(row, values, peak_mb)


def result_of(row: Row, values: Mapping[str, list[float]], peak_mb: float) -> Result:
    """Condense the values of `own` and of each `peer:…` to medians."""
    value = median(values["own"])
    peers = {name: median(values[f"peer:{name}"]) for name in row.peers}
    return Result(
        name=row.name,
        value=value,
        unit=row.unit,
        target=row.target.text if row.target else None,
        met=row.target.met(value, peers) and peak_mb <= row.target.most_mb if row.target else None,
        peers=peers,
        peak_mb=round(peak_mb, 1),
    )
