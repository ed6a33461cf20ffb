"""The catalogue of published products in SQLite or PostGIS."""
