"""The card of an evaluated version, generated from its files alone."""

from collections.abc import Mapping
from typing import Any

from earthsignature_assets.evaluation.evaluation_page import class_table, evaluation_summary
from earthsignature_assets.evaluation.markdown import markdown_table
from earthsignature_assets.ground_truth.label_scheme import code_name
from earthsignature_assets.models.repository import ModelDescription
from earthsignature_assets.nomenclature import CODES, class_of, name_at_level

_WEAK = 0.5
_BADLY_CALIBRATED = 0.1


def evaluated_card(description: ModelDescription, figures: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """Write the card in Markdown.

    Args:
        description: the version's `model.json`.
        figures: its `evaluation.json`.
        report: the report of the held-out training set.
    """
    sections = [
        f"# {description.model}",
        f"{description.architecture}, for Sentinel-2 {description.level} at {description.resolution_m:g} m: "
        f"{', '.join(description.bands)} as reflectance × 10000, 0 = no data.",
        "## Classes",
        _can(description),
        "## Classes that it cannot predict",
        _cannot(description),
        "## Accuracy",
        evaluation_summary(figures).partition("\n\n")[2],
        class_table(figures["as_labelled"]),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(description, figures)),
        "## Data and licences",
        _data(figures, report),
        "## Hashes",
        f"- `model.onnx`: SHA-256 `{description.sha256}`\n"
        f"- held-out set {figures['set']['name']}: `{figures['set']['identity']}`\n"
        f"- training set: {f'`{description.training_set}`' if description.training_set else 'not recorded'}",
    ]
    return "\n\n".join(sections) + "\n"


def _can(description: ModelDescription) -> str:
    rows = [
        (
            entry.code,
            f"{code_name(entry.code, entry.supported_level)} {name_at_level(entry.code, entry.supported_level)}",
            entry.meaning,
        )
        for entry in description.classes
    ]
    return markdown_table(("Code", "Stands for", "Ground truth"), rows)


def _cannot(description: ModelDescription) -> str:
    """List the classes that no code of the version stands for, and those predicted to a coarser level than 3."""
    covered = {code_name(entry.code, entry.supported_level).rstrip("x") for entry in description.classes}
    absent = [code for code in CODES if not any(str(code).startswith(part) for part in covered)]
    coarse = [entry for entry in description.classes if entry.supported_level < 3]
    lines = []
    if coarse:
        named = ", ".join(f"{entry.code} (to level {entry.supported_level})" for entry in coarse)
        lines.append(f"- Not separated from the other classes of the same coarser class: {named}.")
    if absent:
        named = ", ".join(f"{code} {class_of(code).name}" for code in absent)
        lines.append(f"- Not predicted; such ground gets the most similar class: {named}.")
    return "\n".join(lines) or "- None: every CORINE level-3 class is predicted."


def _limits(description: ModelDescription, figures: Mapping[str, Any]) -> list[str]:
    """List the limits that follow from the figures, one sentence each."""
    per_class = figures["as_labelled"]["per_class"]
    judged = {name: own for name, own in per_class.items() if own["support"]}
    limits = [figures["independence"] + "."]
    if weak := [name for name, own in judged.items() if (own["f1"]["value"] or 0) < _WEAK]:
        limits.append(f"F1 below {_WEAK:g}: {', '.join(weak)}.")
    if few := [name for name, own in judged.items() if own["f1"]["low"] is None]:
        limits.append(f"Too few places for an interval: {', '.join(few)}.")
    parts = {part for name in judged for part in name.split(" or ")}
    seen = {entry.code for entry in description.classes if _judged(entry.code, parts)}
    if unseen := [str(entry.code) for entry in description.classes if entry.code not in seen]:
        limits.append(f"Predicted, but not evaluated, because no held-out label has them: {', '.join(unseen)}.")
    error = figures["calibration"]["expected_error"]["value"]
    if error > _BADLY_CALIBRATED:
        word = "too high" if figures["calibration"]["overconfident"] > 0 else "too low"
        limits.append(f"Its confidence is {word}, by {error:.0%} on average.")
    if count := figures["level_1c_samples_with_path_radiance_taken_off"]:
        limits.append(
            f"{count} of {figures['set']['samples']} samples are level-1C, converted to approximate level-2A."
        )
    limits.append("Clouds and shadows are not classes: mask them.")
    return limits


def _judged(code: int, parts: set[str]) -> bool:
    return any(str(code).startswith(part.rstrip("x")) for part in parts)


def _data(figures: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    lines = [
        f"- Ground truth {entry['name']}, by the scheme {entry['scheme']}: {entry['licence'] or 'licence not stated'}."
        for entry in report["truth"]
    ]
    lines += [
        f"- Image {image['name']}, {image['level']}: {image.get('licence') or 'licence not stated'}."
        for image in report["images"]
    ]
    lines.append(
        f"- Split `{figures['set']['split']}` of {report['name']}, by cells of {report['split']['cell_km']:g} km on "
        f"{report['split']['grid']}; contains modified Copernicus Sentinel data."
    )
    return "\n".join(lines)
