"""What every test may use: the real data, where it is."""

from pathlib import Path

import pytest

REAL_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scenes and items; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data are not beside this checkout (../shared/data)")
    return REAL_DATA
