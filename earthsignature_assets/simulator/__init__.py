"""Makes Sentinel-2 scenes with known land cover, for the demo, the tests and the benchmarks."""
