import os
import subprocess
import sys
from pathlib import Path

from earthsignature_assets.system.closed_environment import close_environment

READ = """
from earthsignature_assets.system.closed_environment import close_environment
close_environment()
import rasterio, sys
from pyproj import CRS
from rasterio.env import get_gdal_config
assert get_gdal_config("AWS_NO_SIGN_REQUEST") is None, "a configuration file is read"
with rasterio.Env():
    print(rasterio.crs.CRS.from_epsg(32632).to_epsg(), CRS.from_epsg(32632).to_epsg())
"""


def test_variables_of_gdal_and_proj_are_removed_and_others_stay() -> None:
    environment = {"PROJ_LIB": "/x", "GDAL_DATA": "/y", "CPL_DEBUG": "ON", "HOME": "/h", "AWS_ACCESS_KEY_ID": "k"}
    assert sorted(close_environment(environment)) == ["CPL_DEBUG", "GDAL_DATA", "PROJ_LIB"]
    assert environment == {"HOME": "/h", "AWS_ACCESS_KEY_ID": "k", "GDAL_CONFIG_FILE": os.devnull}
    assert close_environment(environment) == []


def test_another_installation_and_a_configuration_file_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "proj.db").write_bytes(b"")
    (tmp_path / ".gdal").mkdir()
    (tmp_path / ".gdal" / "gdalrc").write_text("[configoptions]\nAWS_NO_SIGN_REQUEST=YES\n")
    proj = str(tmp_path / "proj")
    foreign = {"PROJ_LIB": proj, "PROJ_DATA": proj, "GDAL_DATA": proj, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", READ], env=os.environ | foreign, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["32632", "32632"]
