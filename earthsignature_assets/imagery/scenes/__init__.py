"""Scenes: STAC items, duplicates, footprints, and the area of interest."""
