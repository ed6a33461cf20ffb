from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from recipes.corine_unet.atmospheres import AS_VERSION_1
from recipes.corine_unet.experiments import atmosphere_parts


def test_sixteen_trials_separate_the_parts_of_the_atmosphere() -> None:
    found: list[Any] = [asdict(trial) for trial in atmosphere_parts.trials()]
    levels = 2.0 * np.array([[*trial["narrow"], trial["fold"]] for trial in found]) - 1
    np.testing.assert_array_equal(levels.T @ levels, 16 * np.eye(6))
    noise = np.random.default_rng(0).normal(0, 0.001, 16)
    for trial, error in zip(found, noise, strict=True):
        trial["patches"] = 0.7 + 0.04 * trial["narrow"][3] - 0.02 * trial["narrow"][0] + error
    effects = atmosphere_parts.effects(found, "patches")
    assert effects["offset"][0] == pytest.approx(4, abs=0.2)
    assert effects["gain"][0] == pytest.approx(-2, abs=0.2)
    assert all(abs(effects[part][0]) < 0.2 for part in ("band gain", "path radiance", "noise"))
    assert all(0 < error < 0.2 for _, error in effects.values())


def test_a_narrow_part_is_a_third_as_wide_and_the_others_as_version_1_s() -> None:
    trial = atmosphere_parts.Trial((False, False, True, False, False), 0, 1)
    assert trial.atmosphere == replace(AS_VERSION_1, path_radiance=AS_VERSION_1.path_radiance / 3)
