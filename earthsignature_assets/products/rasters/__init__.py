"""Rasters: cloud-optimised GeoTIFFs, their style and thumbnail, and class areas."""
