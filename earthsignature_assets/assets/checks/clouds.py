"""Check of `clear_scenes`: the computed cloud cover against the provider's figure."""

from collections.abc import Sequence

from earthsignature_assets.assets.checks.finding import Finding, check_spec
from earthsignature_assets.imagery.days.scene_verdicts import SceneVerdict

_MOST_DIFFERENT_POINTS = 30.0

SPECS = [
    check_spec(
        "cloud_cover",
        "clear_scenes",
        f"The cloud cover of each scene is within {_MOST_DIFFERENT_POINTS:.0f} points of the provider's figure.",
        blocking=False,
    )
]


def check_clouds(verdicts: Sequence[SceneVerdict]) -> Finding:
    """Compare the cloud cover of each scene with the provider's figure; scenes without a figure do not count."""
    differences = {
        str(verdict.key): abs(verdict.cloud_percent - verdict.provider_cloud_percent)
        for verdict in verdicts
        if verdict.provider_cloud_percent is not None
    }
    far = {key: points for key, points in differences.items() if points > _MOST_DIFFERENT_POINTS}
    worst = max(differences.values(), default=0.0)
    message = f"{len(differences)} scenes compared, at most {worst:.1f} points apart"
    if far:
        named = ", ".join(f"{key} ({points:.0f})" for key, points in sorted(far.items()))
        message += f"; the provider's figure refers to something else, or a classification is wrong: {named}"
    figures = {"compared": len(differences), "far_apart": len(far), "most_points": round(worst, 1)}
    return Finding("cloud_cover", not far, message, figures, warns=True)
