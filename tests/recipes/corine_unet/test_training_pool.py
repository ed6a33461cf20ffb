"""Needs PyTorch, which the test environment does not hold: `make test-services` runs it in an environment that does."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

pytest.importorskip("torch", reason="PyTorch is absent (the extra `train`)")

from rich.progress import Progress

from earthsignature_assets.errors import TrainingError
from earthsignature_assets.training.optimisation import train
from recipes.corine_unet import training_pool
from recipes.corine_unet.training_pool import Training, train_all, train_distilled
from tests.small_training import CODES, QUIET, RECIPE, TINY, assert_same, samples
from tests.waiting import within


def _workers(process_id: int) -> list[int]:
    """Return the processes that a pool of this process has started."""
    files = Path(f"/proc/{process_id}/task").glob("*/children")
    children = {int(number) for file in files for number in file.read_text().split()}
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _trainings(folder: Path | None = None, epochs: int = 3) -> list[Training]:
    return [
        Training(
            f"run {seed}",
            samples(),
            replace(RECIPE, epochs=epochs, seed=seed),
            TINY,
            checkpoint=folder / f"{seed}.pt" if folder else None,
        )
        for seed in (10, 20, 30)
    ]


def test_any_number_of_processes_gives_the_same_networks_in_their_order_and_shows_their_bars() -> None:
    shown = Progress(disable=True)
    apart = train_distilled(_trainings(), 1, 2, shown)
    together = train_distilled(_trainings(), 1, 1, QUIET)
    for one, other in zip(apart, together, strict=True):
        assert_same(one.network, other.network)
        assert one.curve.losses == other.curve.losses
        assert one.seconds > 0
    assert apart[0].curve.losses != apart[1].curve.losses
    titles = [task.description.partition(", loss")[0] for task in shown.tasks]
    assert sorted(titles[:3]) == [f"run {n}, teacher 1 of 1" for n in (10, 20, 30)]
    assert sorted(titles[3:]) == [f"run {n}" for n in (10, 20, 30)]
    assert all(task.completed == task.total for task in shown.tasks)


def test_without_teachers_the_pool_runs_the_training_alone() -> None:
    (trained,) = train_distilled(_trainings()[:1], 0, 1, QUIET)
    other, _ = train(samples(), _trainings()[0].recipe, TINY, QUIET, "test", classes=CODES)
    assert_same(trained.network, other)


def test_a_network_learns_from_its_own_teachers_and_resumes(tmp_path: Path) -> None:
    (one,) = train_distilled(_trainings(tmp_path)[:1], 2, 1, QUIET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10-teacher-1.pt", "10-teacher-2.pt", "10.pt"]
    (resumed,) = train_distilled(_trainings(tmp_path)[:1], 2, 1, QUIET)
    assert_same(one.network, resumed.network)
    (with_fewer,) = train_distilled(_trainings()[:1], 1, 1, QUIET)
    assert one.curve.losses != with_fewer.curve.losses
    teacher = replace(_trainings()[0], recipe=replace(RECIPE, epochs=3, seed=11))
    by_hand = replace(_trainings()[0], teachers=tuple(train_all([teacher], 1, QUIET)))
    assert_same(train_all([by_hand], 1, QUIET)[0].network, with_fewer.network)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_that_fails_is_named_and_the_others_end(processes: int) -> None:
    trainings = _trainings()
    trainings[1] = replace(trainings[1], recipe=replace(RECIPE, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"run 20: the loss became nan at step \d+; lower the learning rate"):
        train_all(trainings, processes, QUIET)


def test_a_process_that_is_killed_is_named_and_the_next_start_resumes(tmp_path: Path) -> None:
    long = _trainings(tmp_path, epochs=400)

    def kill() -> None:
        if within(60, lambda: list(tmp_path.glob("*.pt")) != []):
            os.kill(_workers(os.getpid())[0], signal.SIGKILL)

    killer = Thread(target=kill)
    killer.start()
    with pytest.raises(TrainingError, match="start the training again to resume from its last epoch"):
        train_all(long, 2, QUIET)
    killer.join()
    assert list(tmp_path.glob("*.pt"))


_ALONE = """
import sys
from pathlib import Path
from tests.recipes.corine_unet.test_training_pool import QUIET, _trainings, train_all

if __name__ == "__main__":
    train_all(_trainings(Path(sys.argv[1]), epochs=4000), 2, QUIET)
"""


def test_when_the_first_process_is_killed_the_others_end_too(tmp_path: Path) -> None:
    script, folder = tmp_path / "alone.py", tmp_path / "runs"
    script.write_text(_ALONE)
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, script, folder], env={**os.environ, "PYTHONPATH": str(root)}) as process:
        assert within(60, lambda: len(list(folder.glob("*.pt"))) == 2)
        workers = _workers(process.pid)
        assert len(workers) == 2
        process.kill()
    assert within(10, lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_a_process_of_the_pool_can_be_terminated_even_if_its_parent_ignores_the_signal() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, initializer=training_pool._begin, initargs=(None,)) as pool:
            assert pool.submit(signal.getsignal, signal.SIGTERM).result() == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
