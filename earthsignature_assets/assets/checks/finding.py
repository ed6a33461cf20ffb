"""What a check found, and how findings on several partitions become one result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from earthsignature_assets.assets.metadata import table


@dataclass(frozen=True)
class Finding:
    """What one check found on one partition.

    Attributes:
        check: the check's name.
        passed: whether it holds.
        told: one sentence with figures; where it does not hold, what that means.
        figures: what was measured; plain values.
        warns: a failure is a warning and blocks nothing.
    """

    check: str
    passed: bool
    told: str
    figures: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    warns: bool = False


def check_spec(name: str, asset: str, description: str, *, blocking: bool) -> dg.AssetCheckSpec:
    """The declaration of a check: a blocking one stops what comes after the asset."""
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking)


def check_results(findings: Mapping[str, Sequence[Finding]]) -> list[dg.AssetCheckResult]:
    """One result a check over the partitions of a run.

    Args:
        findings: by partition key.
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
        metadata, told = dict(finding.figures), finding.told
    else:
        rows = [
            {"partition": key, "passed": finding.passed, "found": finding.told, **finding.figures}
            for key, finding in found.items()
        ]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        metadata = {"partitions": table([{column: row.get(column) for column in columns} for row in rows])}
        told = "; ".join(f"{key}: {finding.told}" for key, finding in failed.items()) or f"{len(found)} partitions hold"
    return dg.AssetCheckResult(
        check_name=name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description=told,
        metadata=metadata,
    )
