from tests.small_scene import dynamic_world, eurosat_folder, hateg_folder, new_scene, small_scene

__all__ = ["dynamic_world", "eurosat_folder", "hateg_folder", "new_scene", "small_scene"]
