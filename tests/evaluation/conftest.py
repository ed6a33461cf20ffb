from tests.small_scene import new_scene

__all__ = ["new_scene"]
