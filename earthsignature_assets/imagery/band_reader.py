"""Read bands where they are, local or over HTTP, by rows.

The remote's policy is stated here once (GDAL's options): 10 s to connect, 60 s to answer, four tries with growing
pauses on 429, 500, 502, 503 and 504; no directory listings; neighbouring ranges merged.
"""

import re
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from earthsignature_assets.errors import BandError, EarthSignatureError, ProviderUnavailableError
from earthsignature_assets.grid import PixelGrid

_GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_CACHEMAX": 256 << 20,  # bytes; the default grows to a twentieth of the memory
    "GDAL_NUM_THREADS": "1",
    # Otherwise a file that could not be reached once counts as missing for the life of the process.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
}
_PASSING = re.compile(r"(error|response) code ?: (429|5\d\d)|CURL error|timed out|Connection refused|Could not resolve")


def gdal_environment() -> Any:
    """The GDAL options that every read of a band runs under; enter it in each thread."""
    return rasterio.Env(**_GDAL_OPTIONS)


class BandReader:
    """One open band. Not for two threads at once."""

    def __init__(self, item_id: str, band: str, href: str) -> None:
        """Open a band.

        Raises:
            BandError: the file is missing, damaged, or has no usable grid.
            ProviderUnavailableError: its server does not answer.
        """
        self.item_id, self.band, self.href = item_id, band, href
        try:
            self._dataset = rasterio.open(href)
        except RasterioError as error:
            raise self._fault("cannot be opened", error) from error
        affine, crs = self._dataset.transform, self._dataset.crs
        epsg = crs.to_epsg() if crs else None
        if epsg is None or affine.b or affine.d or affine.a != -affine.e:
            self.close()
            raise BandError(f"item {item_id}: band {band} ({href}) has no north-up grid in a known CRS")
        self.grid = PixelGrid(epsg, affine.c, affine.f, affine.a, self._dataset.width, self._dataset.height)
        self._no_data = self._dataset.nodata

    def read(self, rows: slice) -> npt.NDArray[np.uint16]:
        """Read whole rows: (rows, width) uint16, 0 where the file says no data.

        Raises:
            BandError: the file is damaged.
            ProviderUnavailableError: its server does not answer.
        """
        window = Window(0, rows.start, self.grid.width, rows.stop - rows.start)
        try:
            values: npt.NDArray[np.uint16] = self._dataset.read(1, window=window)
        except RasterioError as error:
            raise self._fault(f"cannot be read at rows {rows.start}…{rows.stop}", error) from error
        if self._no_data not in (None, 0):
            values = np.where(values == self._no_data, 0, values)
        return values.astype(np.uint16, copy=False)

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fault(self, what: str, error: RasterioError) -> EarthSignatureError:
        causes = [str(error)]
        cause = error.__cause__
        while cause is not None:
            causes.append(str(cause))
            cause = cause.__cause__
        text = "; ".join(dict.fromkeys(causes))
        message = f"item {self.item_id}: band {self.band} ({self.href}) {what}: {text}"
        if self.href.startswith(("http://", "https://", "/vsi")) and _PASSING.search(text):
            return ProviderUnavailableError(message)
        return BandError(message)
