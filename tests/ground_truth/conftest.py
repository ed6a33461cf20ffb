from tests.small_scene import new_scene, small_scene

__all__ = ["new_scene", "small_scene"]
