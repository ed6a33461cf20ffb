from tests.small_scene import hateg_folder

__all__ = ["hateg_folder"]
