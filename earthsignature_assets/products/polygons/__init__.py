"""Polygons: tracing, generalisation, GeoParquet, geobuf, and export."""
