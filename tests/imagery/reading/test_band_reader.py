import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rasterio

from earthsignature_assets.errors import BandError, ProviderUnavailableError
from earthsignature_assets.grid import PixelWindow
from earthsignature_assets.imagery.reading.band_reader import BandReader, gdal_environment
from earthsignature_assets.imagery.scenes.band_asset import BandFile
from earthsignature_assets.imagery.scenes.scene import Scene
from earthsignature_assets.simulator import serve_files

pytestmark = pytest.mark.usefixtures("no_pauses")


def read(href: str, window: PixelWindow | None = None) -> np.ndarray:
    with gdal_environment(), BandReader("item", "B05", BandFile(href)) as reader:
        window = window or reader.grid.whole
        return reader.read(window, np.empty(window.shape, np.uint16))


def test_windows_over_http_are_those_of_the_file(scene: Scene, tmp_path: Path) -> None:
    source = Path(scene.parts[0].bands["B05"].href)
    shutil.copy(source, tmp_path / "B05.tif")
    with rasterio.open(source) as dataset:
        expected = dataset.read(1)
    with serve_files(tmp_path) as base_url:
        assert np.array_equal(read(f"{base_url}/B05.tif"), expected)
        window = PixelWindow(slice(17, 203), slice(5, 90))
        assert np.array_equal(read(f"{base_url}/B05.tif", window), expected[window.index])
        with pytest.raises(BandError, match=r"B06.*cannot be opened"):
            read(f"{base_url}/B06.tif")


def test_no_data_of_the_file_becomes_zero(tmp_path: Path) -> None:
    path = tmp_path / "B05.tif"
    profile = {"driver": "GTiff", "width": 3, "height": 1, "count": 1, "dtype": "int16", "crs": "EPSG:32634"}
    transform = rasterio.transform.from_origin(600000, 5000000, 20, 20)
    with rasterio.open(path, "w", nodata=-32768, transform=transform, **profile) as dataset:
        dataset.write(np.array([[-32768, 0, 7]], np.int16), 1)
    assert read(str(path)).tolist() == [[0, 0, 7]]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_real_file_without_georeference_is_named(real_data: Path) -> None:
    (path,) = (real_data / "stac_e84_33TWL_33TWM_202308").glob("*/S2A_33TWM_20230815_0_L2A/B02.tif")
    with pytest.raises(BandError, match=r"item item: band B05 .* no north-up grid in a known CRS; .*materialise"):
        read(str(path))


def test_a_server_that_comes_back_is_read_without_a_restart(scene: Scene, tmp_path: Path) -> None:
    shutil.copy(scene.parts[0].bands["B05"].href, tmp_path / "B05.tif")
    with serve_files(tmp_path) as base_url:
        pass  # its port is free again
    for _ in range(2):
        with pytest.raises(ProviderUnavailableError, match="B05"):
            read(f"{base_url}/B05.tif")
    port = int(base_url.rsplit(":", 1)[1])
    with file_server(tmp_path, port):
        assert read(f"{base_url}/B05.tif").any()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_retryable(status: int) -> None:
    with answering(status) as base_url, pytest.raises(ProviderUnavailableError, match=str(status)):
        read(f"{base_url}/B05.tif")


@pytest.mark.parametrize("how", ["429", "500", "503", "reset", "cut"])
def test_a_transient_failure_is_retried(scene: Scene, tmp_path: Path, how: str) -> None:
    shutil.copy(scene.parts[0].bands["B05"].href, tmp_path / "B05.tif")
    with rasterio.open(tmp_path / "B05.tif") as dataset:
        expected = dataset.read(1)
    with stumbling(tmp_path, how, times=2) as base_url:
        assert np.array_equal(read(f"{base_url}/B05.tif"), expected)


@pytest.mark.parametrize(
    ("how", "fault"), [("503", ProviderUnavailableError), ("reset", ProviderUnavailableError), ("cut", BandError)]
)
def test_a_server_that_fails_during_a_read_is_retryable(
    scene: Scene, tmp_path: Path, how: str, fault: type[Exception]
) -> None:
    """A file truncated on its server looks like a truncated response: after the retries it counts as damaged."""
    shutil.copy(scene.parts[0].bands["B05"].href, tmp_path / "B05.tif")
    with stumbling(tmp_path, how, times=1000) as base_url, pytest.raises(fault, match=r"item item: band B05"):
        read(f"{base_url}/B05.tif")


@contextmanager
def stumbling(folder: Path, how: str, times: int) -> Iterator[str]:
    """Run a file server in a separate process that fails a number of times before it responds."""
    script = Path(__file__).with_name("stumbling_server.py")
    command = [sys.executable, str(script), str(folder), how, str(times)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.kill()


@contextmanager
def file_server(folder: Path, port: int) -> Iterator[None]:
    """Run a plain file server at a given port, in threads of this process: reads must not block them."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with _serving(Handler, port):
        yield


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET  # noqa: N815 - the name that the base class calls

        def log_message(self, *arguments: object) -> None:
            pass

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with _serving(Handler, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler], port: int) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


_READ_WITH_A_BROKEN_PROJ = """
import sys
from earthsignature_assets.errors import ConfigurationError
from earthsignature_assets.imagery.reading.band_reader import BandReader, gdal_environment
from earthsignature_assets.imagery.scenes.band_asset import BandFile
try:
    with gdal_environment():
        BandReader("item", "B02", BandFile(sys.argv[1]))
except ConfigurationError as error:
    print(error)
"""


def test_a_broken_installation_of_proj_is_reported_as_that(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "proj.db").write_bytes(b"")
    broken = {"PROJ_LIB": str(tmp_path), "PROJ_DATA": str(tmp_path)}
    command = [sys.executable, "-c", _READ_WITH_A_BROKEN_PROJ, scene.parts[0].bands["B02"].href]
    done = subprocess.run(command, env=os.environ | broken, capture_output=True, text=True, check=True)
    assert "PROJ_LIB or PROJ_DATA names another installation" in done.stdout
