"""Ground truth: label schemes, sources, the spatial split, and training sets."""
