"""The page of an evaluation in Markdown: the decision, the tables, and the basis of the figures."""

from collections.abc import Mapping
from typing import Any

from earthsignature_assets.evaluation.markdown import markdown_table


def evaluation_page(figures: Mapping[str, Any]) -> str:
    """Write the page of an evaluation in Markdown.

    Args:
        figures: `evaluation.json`.
    """
    labelled = figures["as_labelled"]
    sections = [
        evaluation_summary(figures),
        *_remarks(figures),
        "![input left, ground truth right above, prediction right below](evaluation.png)",
        *_comparison(figures),
        "## At the level of each label",
        class_table(labelled),
        _matrix(labelled),
        *(_level(level, found) for level, found in figures["levels"].items()),
        _calibration(figures["calibration"]),
        _regions(figures["regions"]),
    ]
    return "\n\n".join(sections) + "\n"


def evaluation_summary(figures: Mapping[str, Any]) -> str:
    """Write the decision, its basis, and the two main figures in Markdown."""
    held_out, labelled = figures["set"], figures["as_labelled"]
    word = "Promote" if figures["verdict"]["promote"] else "Hold"
    return "\n\n".join(
        [
            f"# {figures['model']} on {held_out['name']}",
            f"**{word}**: {figures['verdict']['reason']}.",
            f"{figures['independence']}.",
            f"{held_out['samples']} samples of the split `{held_out['split']}` in {held_out['cells']} cells, "
            f"{labelled['pixels']:,} labelled pixels. 95 % intervals come from resampled "
            f"{figures['blocks']}s, because pixels are not independent; figures of fewer than ten of them have none.",
            f"Overall accuracy {interval(labelled['overall_accuracy'])}, mean F1 {interval(labelled['mean_f1'])}.",
        ]
    )


def _remarks(figures: Mapping[str, Any]) -> list[str]:
    lines = []
    if figures["unanswered_pixels"]:
        lines.append(f"{figures['unanswered_pixels']:,} labelled pixels have no predicted class.")
    if figures["level_1c_samples_with_path_radiance_taken_off"]:
        lines.append(
            f"{figures['level_1c_samples_with_path_radiance_taken_off']} samples are level-1C: typical path radiance "
            "was subtracted, because the version reads level-2A."
        )
    return lines


def _comparison(figures: Mapping[str, Any]) -> list[str]:
    test = figures["paired_test"]
    if test is None:
        return []
    rows = [
        ("mean F1", interval(test["mean_f1"], signed=True)),
        ("overall accuracy", interval(test["overall_accuracy"], signed=True)),
        *((f"F1 of {name}", interval(change, signed=True)) for name, change in test["per_class_f1"].items()),
    ]
    return [
        f"## Compared with {figures['current']}",
        f"Differences on the same {test['blocks']} blocks; p = {test['p_value']:.4f} for the mean F1, by a "
        "randomisation test that exchanges the answers of blocks.",
        markdown_table(("Figure", "Difference"), rows),
    ]


def class_table(judged: Mapping[str, Any]) -> str:
    """Write the table of the figures of each class with labels, in Markdown."""
    rows = [
        (
            name,
            *(interval(own[key]) for key in ("recall", "precision", "f1", "iou")),
            f"{own['support']:,}",
            own["blocks"],
        )
        for name, own in judged["per_class"].items()
        if own["support"]
    ]
    return markdown_table(("Class", "Recall", "Precision", "F1", "IoU", "Pixels", "Blocks"), rows)


def _matrix(judged: Mapping[str, Any]) -> str:
    rows = [
        (f"**{name}**", *(f"{count:,}" for count in counts))
        for name, counts in zip(judged["classes"], judged["counts"], strict=True)
        if any(counts)
    ]
    return markdown_table(("truth \\ predicted", *judged["classes"]), rows)


def _level(level: str, found: Mapping[str, Any]) -> str:
    title = f"## CORINE level {level}"
    if not found["pixels"]:
        return f"{title}\n\nNo label reaches this level: there are no figures."
    known = f"{found['pixels']:,} pixels with a label of this level or finer"
    if found["pixels_known_less_finely"]:
        known += f" ({found['pixels_known_less_finely']:,} have a coarser label)"
    if found["unclaimed_codes"]:
        known += f"; the version does not claim {', '.join(map(str, found['unclaimed_codes']))} at this level"
    accuracy = f"Overall accuracy {interval(found['overall_accuracy'])}, mean F1 {interval(found['mean_f1'])}."
    return "\n\n".join([title, f"{known}. {accuracy}", class_table(found), _matrix(found)])


def _calibration(found: Mapping[str, Any]) -> str:
    rows = [
        (
            f"{entry['low']}–{entry['high']} %",
            f"{entry['pixels']:,}",
            f"{entry['confidence']:.2f}",
            f"{entry['accuracy']:.2f}",
        )
        for entry in found["bins"]
    ]
    tendency = "overconfident" if found["overconfident"] > 0 else "underconfident"
    return "\n\n".join(
        [
            "## Confidence",
            f"Expected calibration error {interval(found['expected_error'])}; on average {tendency} by "
            f"{abs(found['overconfident']):.1%}.",
            markdown_table(("Confidence", "Pixels", "Mean confidence", "Correct"), rows),
        ]
    )


def _regions(regions: Mapping[str, Any]) -> str:
    rows = [
        (name, interval(found["overall_accuracy"]), interval(found["mean_f1"]), f"{found['pixels']:,}", found["blocks"])
        for name, found in regions.items()
    ]
    return f"## Regions\n\n{markdown_table(('Region', 'Overall accuracy', 'Mean F1', 'Pixels', 'Blocks'), rows)}"


def interval(figure: Mapping[str, float | None], signed: bool = False) -> str:
    """Format a figure with its interval: `0.73 (0.63 … 0.83)`."""
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    form = "+.2f" if signed else ".2f"
    return format(value, form) + (f" ({low:{form}} … {high:{form}})" if low is not None else "")
