"""Random fields as functions of position: the same seed and pixel give the same number, however a scene is split.

Value noise on an integer lattice (K. Perlin's construction with hashed lattice values), compiled by numba. The
compiled code is cached next to the modules; numba notices a change in a kernel's own module, but not in modules that
the kernel calls, so delete `__pycache__` after an edit here.
"""

import hashlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np

_P = ParamSpec("_P")
_R = TypeVar("_R")

_K1 = np.uint64(0x9E3779B97F4A7C15)
_K2 = np.uint64(0xBF58476D1CE4E5B9)
_K3 = np.uint64(0x94D049BB133111EB)
_K4 = np.uint64(0xD6E8FEB86659FD93)
_S16, _S29, _S31, _S32, _S40, _S48 = (np.uint64(bits) for bits in (16, 29, 31, 32, 40, 48))
_LOW = np.uint64(0xFFFF)


def kernel(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a numeric function without Python objects; it releases the interpreter lock and is cached on disk."""
    return cast("Callable[_P, _R]", numba.njit(nogil=True, cache=True, error_model="numpy")(function))


def seed_of(*parts: object) -> int:
    """Derive a 62-bit seed from all parts, the same on every machine."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 2


@kernel
def _hash(seed: int, i: int, j: int) -> np.uint64:
    h = np.uint64(seed) ^ (np.uint64(i) * _K1) ^ (np.uint64(j) * _K3)
    h = (h ^ (h >> _S31)) * _K2
    h = (h ^ (h >> _S29)) * _K4
    return h ^ (h >> _S32)


@kernel
def uniform(seed: int, i: int, j: int) -> float:
    """Return the lattice value of cell (i, j), uniform in [0, 1)."""
    return float(_hash(seed, i, j) >> _S40) * (1.0 / 16777216.0)


@kernel
def normal(seed: int, i: int, j: int) -> float:
    """Return a nearly Gaussian lattice value of cell (i, j): mean 0, standard deviation 1, within ±3.5."""
    h = _hash(seed, i, j)
    total = float(h & _LOW) + float((h >> _S16) & _LOW) + float((h >> _S32) & _LOW) + float(h >> _S48)
    return (total * (1.0 / 65536.0) - 2.0) * 1.7320508


@kernel
def value_noise(seed: int, x: float, y: float) -> float:
    """Return smooth noise in [0, 1) with a wavelength of about 2: lattice values joined by a quintic."""
    i, j = int(np.floor(x)), int(np.floor(y))
    u, v = x - i, y - j
    u = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    v = v * v * v * (v * (v * 6.0 - 15.0) + 10.0)
    upper = uniform(seed, i, j) * (1.0 - u) + uniform(seed, i + 1, j) * u
    lower = uniform(seed, i, j + 1) * (1.0 - u) + uniform(seed, i + 1, j + 1) * u
    return upper * (1.0 - v) + lower * v


@kernel
def fractal_noise(seed: int, x: float, y: float, octaves: int) -> float:
    """Return a sum of `octaves` noises, each with half the wavelength and amplitude of the one before.

    The result has mean 0.5 and, from four octaves on, a standard deviation of about 0.14.
    """
    total, height, heights = 0.0, 1.0, 0.0
    for octave in range(octaves):
        # Turning the lattice by the 3-4-5 angle hides its axes.
        total += height * value_noise(seed + octave * 7919, x, y)
        heights += height
        height *= 0.5
        x, y = 2.0 * (0.8 * x - 0.6 * y), 2.0 * (0.6 * x + 0.8 * y)
    return total / heights
