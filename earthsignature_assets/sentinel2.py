"""Sentinel-2's bands and processing levels."""

from collections.abc import Mapping

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""The ten bands of the patches, in the order of every stack."""

TEN_METRE_BANDS = ("B02", "B03", "B04", "B08")
"""The bands published at 10 m; the others of `S2_BANDS` are at 20 m."""

TOP_OF_ATMOSPHERE, SURFACE = "L1C", "L2A"
LEVELS = (TOP_OF_ATMOSPHERE, SURFACE)
"""The processing levels: reflectance at the top of the atmosphere, and at the surface."""

LEVEL_OF_PRODUCT_TYPE: Mapping[str, str] = {"S2MSI1C": TOP_OF_ATMOSPHERE, "S2MSI2A": SURFACE}
"""The processing level of each product type."""
