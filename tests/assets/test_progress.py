import datetime as dt
from types import SimpleNamespace
from typing import Any

from earthsignature_assets.assets.progress import progress_of, watched
from earthsignature_assets.keys import ModelVersion, SceneKey


def context(lines: list[str]) -> Any:
    return SimpleNamespace(log=SimpleNamespace(info=lambda text, *values: lines.append(text % values)))


def test_the_log_has_one_line_for_each_tenth() -> None:
    lines: list[str] = []
    report = progress_of(context(lines), "scene", "windows")
    for done in range(121):
        report(done, 121)
    report(121, 121)
    assert len(lines) == 10
    assert lines[0].startswith("scene: 13 of 121 windows, about 0 s left")
    assert lines[-1].startswith("scene: 121 of 121 windows")


def test_only_steps_inside_the_block_are_watched() -> None:
    seen: list[tuple[int, int]] = []
    with watched(lambda *at: seen.append(at)):
        inside = progress_of(context([]), "scene", "rows")
    outside = progress_of(context([]), "scene", "rows")
    inside(1, 2)
    outside(2, 2)
    assert seen == [(1, 2)]


def test_a_run_in_this_process_is_watched_and_logged(deployment: Any) -> None:
    seen: list[tuple[int, int]] = []
    scene, model = SceneKey(dt.date(2026, 5, 1), 22, "32TQM"), ModelVersion("corine-unet", 1)
    with watched(lambda *at: seen.append(at)):
        deployment.chain.segment(scene, model)
    assert seen[-1] == (1, 1)
    run = deployment.instance.get_run_records(limit=1)[0].dagster_run
    messages = [entry.user_message for entry in deployment.instance.all_logs(run.run_id)]
    assert any("2026-05-01_R022_T32TQM corine-unet-v1: 1 of 1 windows" in text for text in messages)
