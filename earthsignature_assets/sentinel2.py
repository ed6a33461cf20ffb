"""Sentinel-2 as everyone needs it: the ten bands of the patches and the two processing levels."""

from collections.abc import Mapping

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""The ten bands of the patches, in their order in every stack."""

TEN_METRE_BANDS = ("B02", "B03", "B04", "B08")
"""The bands that are published at 10 m; the others of `S2_BANDS` have 20 m."""

TOP_OF_ATMOSPHERE, SURFACE = "L1C", "L2A"
LEVELS = (TOP_OF_ATMOSPHERE, SURFACE)
"""The processing levels: reflectance at the top of the atmosphere, and at the surface."""

LEVEL_OF_PRODUCT_TYPE: Mapping[str, str] = {"S2MSI1C": TOP_OF_ATMOSPHERE, "S2MSI2A": SURFACE}
"""The level of each product type in the words of the ground segment."""
