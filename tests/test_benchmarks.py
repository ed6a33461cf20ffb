"""The machinery of `make bench`; no measured value is asserted here."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import heavy_unet
from benchmarks.measure import Result, measure, result_of
from benchmarks.registry import ROWS
from benchmarks.results import read_results, write_results
from benchmarks.row import BenchmarkError, Options, Row, Target
from benchmarks.worker import contender_of

_FAKE_ROOM = """
from contextlib import contextmanager
from benchmarks.row import Row, Target
from recipes.corine_unet.atmospheres import AS_VERSION_1

@contextmanager
def ours(options):
    print("output of the work is not an answer")
    marker = options.folder / "prepared"
    runs = iter([100.0, 3.0, 1.0, 2.0])  # the first is the warm-up
    ballast = bytearray(64 << 20)
    yield lambda: next(runs) + len(marker.read_text()) - len("ready")

@contextmanager
def theirs(options):
    runs = iter([0.0, 4.0, 100.0, 8.0])
    yield lambda: next(runs)

@contextmanager
def broken(options):
    yield lambda: 1 / 0

def prepare(options):
    (options.folder / "prepared").write_text("ready")

target = Target("at least 4× theirs", lambda value, peers: peers["theirs"] >= 4 * value)
ROWS = (
    Row("fake", "a fake", "s, size {size}", ours, {"theirs": theirs}, target, prepare, repetitions=3),
    Row("bare", "no peers, no target", "s", theirs, repetitions=1),
    Row("broken", "fails", "s", broken),
)
"""


@pytest.fixture
def fake_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Row, ...]:
    """Replace the real rows by those of a module that worker processes can import."""
    (tmp_path / "fake_room.py").write_text(_FAKE_ROOM, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fake_room", raising=False)
    rows: tuple[Row, ...] = importlib.import_module("fake_room").ROWS
    monkeypatch.setattr(command, "ROWS", rows)
    monkeypatch.setattr("benchmarks.registry.ROWS", rows)
    return rows


def result(name: str, value: float = 1.0) -> Result:
    return Result(name, value, "s", None, None, {}, 10.0)


def test_rows_have_unique_names_and_workers_find_them() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 5
    for row in ROWS:
        assert row in importlib.import_module(row.module).ROWS
        assert contender_of(row, "own") is row.own
        assert all(contender_of(row, f"peer:{name}") is peer for name, peer in row.peers.items())
        assert "{" not in (filled := row.filled(Options())).title + filled.unit


def test_medians_and_not_means_are_kept() -> None:
    target = Target("≤ 5 s", lambda value, _: value <= 5)
    row = Row("x", "x", "s", lambda _: pytest.fail("not run"), {"peer": lambda _: pytest.fail("not run")}, target)
    condensed = result_of(row, {"own": [100.0, 1.0, 5.0], "peer:peer": [1.0, 2.0, 4.0, 100.0]}, 12.34)
    assert (condensed.value, condensed.peers, condensed.met, condensed.peak_mb) == (5.0, {"peer": 3.0}, True, 12.3)


def test_a_ratio_above_one_is_ahead_of_the_peer() -> None:
    costs = Row("x", "x", "s", lambda _: pytest.fail("not run"))
    rates = Row("x", "x", "MB/s", lambda _: pytest.fail("not run"), higher_is_better=True)
    assert costs.ratio(2.0, 8.0) == 4.0
    assert rates.ratio(8.0, 2.0) == 4.0


def test_a_row_runs_in_separate_processes(fake_rows: tuple[Row, ...], tmp_path: Path) -> None:
    lines: list[str] = []
    measured = measure(fake_rows[0], Options(folder=tmp_path), lines.append)
    assert (measured.value, measured.peers, measured.met) == (2.0, {"theirs": 8.0}, True)
    assert 64 < measured.peak_mb < 200
    assert [line for line in lines if line.startswith("3 of 3")]


def test_a_contender_that_fails_is_named(fake_rows: tuple[Row, ...], tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="row broken, own failed with exit code 1"):
        measure(fake_rows[2], Options(folder=tmp_path))


def test_only_updates_one_row_and_keeps_the_others(
    fake_rows: tuple[Row, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "build" / "bench.json"
    write_results({"fake": result("fake", 9.0), "bare": result("bare", 7.0)}, fake_rows, output)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(command.__file__).parents[1]}")
    answer = CliRunner().invoke(command.main, ["--only", "fake", "--size", "641"])
    assert answer.exit_code == 0, answer.output
    fake, bare = json.loads(output.read_text(encoding="utf-8"))
    assert set(fake) == {"name", "value", "unit", "target", "met", "peers", "peak_mb"}
    assert (fake["name"], fake["value"], fake["target"], fake["met"]) == ("fake", 2.0, "at least 4× theirs", True)
    assert fake["peers"] == {"theirs": 8.0}
    assert fake["unit"] == "s, size 640"
    assert (bare["name"], bare["value"], bare["target"], bare["met"]) == ("bare", 7.0, None, None)
    assert "4.00×" in answer.output
    assert "preparing" in answer.output


def test_a_full_run_drops_old_results_and_continues_after_a_failure(
    fake_rows: tuple[Row, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(command.__file__).parents[1]}")
    monkeypatch.setattr(command, "ROWS", fake_rows[:0:-1])
    output = tmp_path / "results.json"
    write_results({"bare": result("bare", 7.0), "broken": result("broken")}, fake_rows, output)
    answer = CliRunner().invoke(command.main, ["--output", str(output)])
    assert answer.exit_code == 1
    assert "these rows failed: broken" in answer.output
    assert [(row["name"], row["value"]) for row in json.loads(output.read_text(encoding="utf-8"))] == [("bare", 4.0)]


def test_an_unknown_row_is_refused_with_the_existing_names() -> None:
    answer = CliRunner().invoke(command.main, ["--only", "patchez"])
    assert answer.exit_code == 1
    names = ", ".join(row.name for row in ROWS)
    assert f"there is no row 'patchez'; the rows are {names}\n" in answer.output


def test_rows_are_listed() -> None:
    answer = CliRunner().invoke(command.main, ["--list"])
    assert answer.exit_code == 0
    assert [line.split()[0] for line in answer.output.splitlines() if "  " in line] == [row.name for row in ROWS]


def test_damaged_results_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text('[{"name": "patches"}]', encoding="utf-8")
    with pytest.raises(BenchmarkError, match="delete it"):
        read_results(path)


def test_a_row_without_warm_up_leaves_out_absent_peers(fake_rows: tuple[Row, ...], tmp_path: Path) -> None:
    lines: list[str] = []
    row = replace(fake_rows[0], repetitions=1, warm_up=False, target=None, needs={"theirs": lambda: "no such package"})
    measured = measure(row, Options(folder=tmp_path / "bench"), lines.append)
    assert (measured.value, measured.peers) == (100.0, {})
    assert "without theirs: no such package" in lines


def test_a_row_that_cannot_be_measured_is_left_out_without_failure(
    fake_rows: tuple[Row, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (replace(fake_rows[2], name="absent", needs={"own": lambda: "no such server"}),)
    monkeypatch.setattr("benchmarks.registry.ROWS", rows)
    done = CliRunner().invoke(command.main, ["--only", "absent", "--output", str(tmp_path / "bench.json")])
    assert (done.exit_code, done.exception) == (0, None)
    assert "left out: no such server" in done.output


def test_too_much_memory_misses_a_target() -> None:
    target = Target("≤ 5 s, ≤ 100 MB", lambda value, _: value <= 5, most_mb=100)
    row = Row("x", "x", "s", lambda _: pytest.fail("not run"), target=target)
    assert [result_of(row, {"own": [1.0]}, peak).met for peak in (99.0, 101.0)] == [True, False]


def test_the_heavy_network_has_a_halo_that_keeps_it_exact() -> None:
    assert heavy_unet._reach() <= heavy_unet.HALO
    assert heavy_unet.HALO % heavy_unet.STRIDE == heavy_unet.CORE % heavy_unet.STRIDE == 0
