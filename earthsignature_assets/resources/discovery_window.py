"""How far the automation looks back."""

import dagster as dg


class DiscoveryWindow(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Two spans of days.

    Attributes:
        look_back_days: days before today that every morning's discovery covers: scenes arrive late for days.
        window_days: days that a scene stays a partition after it was last judged.
    """

    look_back_days: int = 7
    window_days: int = 90
