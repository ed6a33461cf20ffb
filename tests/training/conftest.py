from importlib.util import find_spec

from tests.small_scene import eurosat_folder, hateg_folder, small_scene

__all__ = ["eurosat_folder", "hateg_folder", "small_scene"]

# Left out where PyTorch is absent: tests/services/test_training.py runs them in an environment that has it.
_NEED_TORCH = ("network", "optimisation", "set_training")
collect_ignore = [] if find_spec("torch") else [f"test_{name}.py" for name in _NEED_TORCH]
