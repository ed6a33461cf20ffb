"""A simulator of Sentinel-2 scenes with known land cover, for the demo, the tests and the benchmarks."""

from earthsignature_assets.simulator.hosting import serve_files, serve_stac
from earthsignature_assets.simulator.simulated_scene import SceneRecipe, SimulatedScene, simulate_scene
from earthsignature_assets.simulator.sky import Part

__all__ = ["Part", "SceneRecipe", "SimulatedScene", "serve_files", "serve_stac", "simulate_scene"]
