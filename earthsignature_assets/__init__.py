"""EarthSignature: CORINE land cover from every clear Sentinel-2 image, as a Dagster asset platform."""

__version__ = "0.1.0"
