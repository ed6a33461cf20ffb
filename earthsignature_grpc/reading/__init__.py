"""Reading: queries, areas, products, and parts of rasters and polygons."""
