"""From classes to published products: rasters, polygons, STAC items, the store and its catalogue.

No Dagster inside: the gRPC service imports this.
"""
