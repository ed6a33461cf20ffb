"""The shipped signatures: plausible reflectance, equal to the derivation from real data."""

from pathlib import Path

import numpy as np
import pytest

from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator.landscape import CODES
from earthsignature_assets.simulator.signatures import derive, signatures

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_every_simulated_class_has_a_signature() -> None:
    assert tuple(signature.code for signature in signatures()) == CODES
    for signature in signatures():
        assert signature.spectra.shape == (6, len(S2_BANDS))
        assert signature.axes.shape == (2, len(S2_BANDS))
        assert signature.spectra.min() > 0
        assert signature.spectra.max() < 6000


def test_spectra_rise_in_greenness_and_distinguish_materials() -> None:
    by_code = {signature.code: signature.spectra for signature in signatures()}
    red, near_infrared, swir = S2_BANDS.index("B04"), S2_BANDS.index("B08"), S2_BANDS.index("B11")
    for spectra in by_code.values():
        index = (spectra[:, near_infrared] - spectra[:, red]) / (spectra[:, near_infrared] + spectra[:, red])
        assert (np.diff(index) > 0).all()
    assert by_code[512][:, swir].max() < by_code[313][:, swir].min()
    assert by_code[121][0, red] > by_code[313][:, red].max()


@pytest.mark.parametrize("code", [231, 313])
def test_the_table_equals_the_derivation(code: int) -> None:
    if not (DATA / "eurosat_ms_geotorchai").is_dir() or not (DATA / "s2_hateg_34TFR_20181016").is_dir():
        pytest.skip(f"the real data is absent: {DATA}")
    shipped = next(signature for signature in signatures() if signature.code == code)
    derived = derive(code, DATA)
    assert np.abs(derived.axes - shipped.axes).max() <= 1
    assert np.abs(derived.spectra - shipped.spectra).max() <= 1
