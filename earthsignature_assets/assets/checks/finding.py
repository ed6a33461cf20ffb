"""The finding of a check, and the result of a check over several partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from earthsignature_assets.assets.metadata import table


@dataclass(frozen=True)
class Finding:
    """The finding of one check on one partition.

    Attributes:
        check: name of the check.
        passed: whether the check passed.
        message: one sentence with figures; for a failure also its meaning.
        figures: measured values.
        warns: a failure is a warning and blocks nothing.
    """

    check: str
    passed: bool
    message: str
    figures: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    warns: bool = False


def check_spec(name: str, asset: str, description: str, *, blocking: bool) -> dg.AssetCheckSpec:
    """Declare a check; a blocking check stops the assets after its own."""
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def check_results(findings: Mapping[str, Sequence[Finding]]) -> list[dg.AssetCheckResult]:
    """Combine the findings on the partitions of a run into one result for each check.

    Args:
        findings: findings by partition key.
    """
    by_check: dict[str, dict[str, Finding]] = {}
    for key, found in findings.items():
        for finding in found:
            by_check.setdefault(finding.check, {})[key] = finding
    return [_result(name, found) for name, found in by_check.items()]


def _result(name: str, found: Mapping[str, Finding]) -> dg.AssetCheckResult:
    failed = {key: finding for key, finding in found.items() if not finding.passed}
    warns = all(finding.warns for finding in found.values())
    metadata: dict[str, Any]
    if len(found) == 1:
        (finding,) = found.values()
        metadata, message = dict(finding.figures), finding.message
    else:
        rows = [
            {"partition": key, "passed": finding.passed, "found": finding.message, **finding.figures}
            for key, finding in found.items()
        ]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        metadata = {"partitions": table([{column: row.get(column) for column in columns} for row in rows])}
        message = (
            "; ".join(f"{key}: {finding.message}" for key, finding in failed.items()) or f"{len(found)} partitions pass"
        )
    return dg.AssetCheckResult(
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description=message,
        metadata=metadata,
    )
