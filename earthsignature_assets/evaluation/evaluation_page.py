"""The page of an evaluation, in Markdown: the verdict, the tables, what the figures rest on."""

from collections.abc import Mapping
from typing import Any


def evaluation_page(figures: Mapping[str, Any]) -> str:
    """The page of an evaluation in Markdown.

    Args:
        figures: `evaluation.json`.
    """
    labelled = figures["as_labelled"]
    sections = [
        evaluation_summary(figures),
        *_remarks(figures),
        "![input left, ground truth right above, prediction right below](evaluation.png)",
        *_comparison(figures),
        "## As far as each label goes",
        _classes(labelled),
        _matrix(labelled),
        *(_level(level, found) for level, found in figures["levels"].items()),
        _calibration(figures["calibration"]),
        _regions(figures["regions"]),
    ]
    return "\n\n".join(sections) + "\n"


def evaluation_summary(figures: Mapping[str, Any]) -> str:
    """The verdict, what it rests on, and the two figures that sum it up, in Markdown."""
    held_out, labelled = figures["set"], figures["as_labelled"]
    word = "Promote" if figures["verdict"]["promote"] else "Hold"
    return "\n\n".join(
        [
            f"# {figures['model']} on {held_out['name']}",
            f"**{word}**: {figures['verdict']['reason']}.",
            f"{figures['independence']}.",
            f"{held_out['samples']} samples of the split `{held_out['split']}` in {held_out['cells']} cells, "
            f"{labelled['pixels']:,} labelled pixels. Intervals are 95 %, from resampled {figures['blocks']}s, never "
            "from pixels as if they were independent; a figure of fewer than ten of them has none.",
            f"Overall accuracy {interval(labelled['overall_accuracy'])}, mean F1 {interval(labelled['mean_f1'])}.",
        ]
    )


def _remarks(figures: Mapping[str, Any]) -> list[str]:
    lines = []
    if figures["unanswered_pixels"]:
        lines.append(f"{figures['unanswered_pixels']:,} labelled pixels got no class.")
    if figures["level_1c_samples_with_path_radiance_taken_off"]:
        lines.append(
            f"{figures['level_1c_samples_with_path_radiance_taken_off']} samples are level-1C: typical path radiance "
            "was taken off them, because the version reads level-2A."
        )
    return lines


def _comparison(figures: Mapping[str, Any]) -> list[str]:
    test = figures["paired_test"]
    if test is None:
        return []
    rows = [
        f"| mean F1 | {interval(test['mean_f1'], signed=True)} |",
        f"| overall accuracy | {interval(test['overall_accuracy'], signed=True)} |",
        *(f"| F1 of {name} | {interval(change, signed=True)} |" for name, change in test["per_class_f1"].items()),
    ]
    return [
        f"## Beside {figures['current']}",
        f"The same {test['blocks']} blocks, this version minus that one; p = {test['p_value']:.4f} for the mean F1 (by "
        "exchanging the answers of blocks at random).",
        "| Figure | Difference |\n|---|---|\n" + "\n".join(rows),
    ]


def _classes(judged: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {interval(own['recall'])} | {interval(own['precision'])} | {interval(own['f1'])} | "
        f"{interval(own['iou'])} | {own['support']:,} | {own['blocks']} |"
        for name, own in judged["per_class"].items()
        if own["support"]
    ]
    head = "| Class | Recall | Precision | F1 | IoU | Pixels | Blocks |\n|---|---|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def _matrix(judged: Mapping[str, Any]) -> str:
    rows = [
        f"| **{name}** | {' | '.join(f'{count:,}' for count in counts)} |"
        for name, counts in zip(judged["classes"], judged["counts"], strict=True)
        if any(counts)
    ]
    head = f"| truth \\ predicted | {' | '.join(judged['classes'])} |\n|{'---|' * (len(judged['classes']) + 1)}\n"
    return head + "\n".join(rows)


def _level(level: str, found: Mapping[str, Any]) -> str:
    title = f"## CORINE level {level}"
    if not found["pixels"]:
        return f"{title}\n\nNo label goes that far: nothing can be said at this level."
    told = f"{found['pixels']:,} pixels whose label goes that far"
    if found["pixels_known_less_finely"]:
        told += f" ({found['pixels_known_less_finely']:,} do not)"
    if found["unclaimed_codes"]:
        told += f"; the version does not claim {', '.join(map(str, found['unclaimed_codes']))} at this level"
    accuracy = f"Overall accuracy {interval(found['overall_accuracy'])}, mean F1 {interval(found['mean_f1'])}."
    return "\n\n".join([title, f"{told}. {accuracy}", _classes(found), _matrix(found)])


def _calibration(found: Mapping[str, Any]) -> str:
    rows = [
        f"| {entry['low']}–{entry['high']} % | {entry['pixels']:,} | {entry['confidence']:.2f} | "
        f"{entry['accuracy']:.2f} |"
        for entry in found["bins"]
    ]
    tendency = "too sure" if found["overconfident"] > 0 else "too modest"
    return "\n\n".join(
        [
            "## Confidence",
            f"Expected calibration error {interval(found['expected_error'])}; on the whole {tendency} by "
            f"{abs(found['overconfident']):.1%}.",
            "| Confidence | Pixels | Mean confidence | Right |\n|---|---|---|---|\n" + "\n".join(rows),
        ]
    )


def _regions(regions: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {interval(found['overall_accuracy'])} | {interval(found['mean_f1'])} | {found['pixels']:,} | "
        f"{found['blocks']} |"
        for name, found in regions.items()
    ]
    head = "## Regions\n\n| Region | Overall accuracy | Mean F1 | Pixels | Blocks |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows)


def interval(figure: Mapping[str, float | None], signed: bool = False) -> str:
    """A figure with its interval as text: `0.73 (0.63 … 0.83)`."""
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    form = "+.2f" if signed else ".2f"
    return format(value, form) + (f" ({low:{form}} … {high:{form}})" if low is not None else "")
