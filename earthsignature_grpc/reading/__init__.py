"""Reading of products: queries, areas, and parts of rasters and polygons."""
