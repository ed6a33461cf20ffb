"""Read windows of bands from local files, over HTTP or from S3.

Timeouts and retries follow `remote_policy`. GDAL lists no directories and merges requests for neighbouring ranges.
"""

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.io import DatasetReader
from rasterio.session import DummySession, Session
from rasterio.windows import Window

from earthsignature_assets.errors import (
    BandError,
    ConfigurationError,
    CredentialError,
    EarthSignatureError,
    ProviderUnavailableError,
)
from earthsignature_assets.grid import PixelGrid, PixelWindow
from earthsignature_assets.imagery.providers import remote_policy
from earthsignature_assets.imagery.providers.access import Access
from earthsignature_assets.imagery.providers.signing import SIGNER
from earthsignature_assets.imagery.scenes.band_asset import BandFile
from earthsignature_assets.system.gdal_cache import BLOCK_CACHE

_GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_NUM_THREADS": "1",
    # Otherwise a file that failed to open once counts as missing for the life of the process.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/",
}
_SECRET = re.compile(r"(sig|Signature|X-Amz-Signature)=[^&\s'\"]+")
REMEDY = "once the provider has fixed it, materialise `discovered_items` of its day again"
"""Remedy for a file that is damaged or does not match its item."""
_LOCAL_REMEDY = "once the file is there and whole, materialise `discovered_items` of its day again"

ResultT = TypeVar("ResultT")
NumberT = TypeVar("NumberT", np.uint8, np.uint16)


class _Credentials(Session):  # type: ignore[misc]
    """Credentials as GDAL options; rasterio's own session would need boto3."""

    def __init__(self, options: dict[str, str]) -> None:
        self._options = options

    def get_credential_options(self) -> dict[str, str]:
        return self._options


@contextmanager
def gdal_environment(access: Access | None = None) -> Iterator[None]:
    """Set the GDAL options that reading a band needs while the block runs; enter it in each thread.

    Raises:
        CredentialError: the provider's S3 endpoint needs a credential that is not in the environment.
    """
    access = access or Access()
    session = _Credentials(access.s3.gdal_options()) if access.s3 else DummySession()
    with BLOCK_CACHE.held(), rasterio.Env(session, **_GDAL_OPTIONS, **remote_policy.POLICY.gdal_options(access)):
        yield


class BandReader:
    """One open band; threads that read it take turns."""

    def __init__(self, item_id: str, band: str, file: BandFile, access: Access | None = None) -> None:
        """Open a band, within the `gdal_environment` of the same access.

        Raises:
            BandError: the file is missing, damaged, or has no usable grid.
            ProviderUnavailableError: its server does not respond.
            ConfigurationError: it is on S3, and the provider has no endpoint.
        """
        self.item_id, self.band, self.href = item_id, band, (href := file.href)
        self._access = access or Access()
        self._is_remote = "://" in href
        self._dataset = self._tried("cannot be opened", self._opened, self._opened)
        affine, crs = self._dataset.transform, self._dataset.crs
        epsg = crs.to_epsg() if crs else None
        if epsg is None and crs is not None:
            _check_proj()
        if epsg is None or affine.b or affine.d or affine.a != -affine.e:
            self.close()
            raise BandError(f"item {item_id}: band {band} ({href}) has no north-up grid in a known CRS; {REMEDY}")
        self.grid = PixelGrid(epsg, affine.c, affine.f, affine.a, self._dataset.width, self._dataset.height)
        self.data_type: str = self._dataset.dtypes[0]
        self.no_data = None if (no_data := self._dataset.nodata) is None or math.isnan(no_data) else float(no_data)
        self._no_data = file.no_data if self.no_data is None else self.no_data
        self._turn = threading.Lock()

    @property
    def offset_dn(self) -> int | None:
        """Offset from the file's header (offset / scale), in digital numbers; None if it has none."""
        scale, offset = self._dataset.scales[0], self._dataset.offsets[0]
        return None if (scale, offset) == (1.0, 0.0) or not scale else round(offset / scale)

    @property
    def row_of_blocks_bytes(self) -> int:
        """Decoded size of a row of the file's blocks, in bytes."""
        height, width = self._dataset.block_shapes[0]
        columns = -(-self.grid.width // width) * width
        return int(height * columns * np.dtype(self._dataset.dtypes[0]).itemsize)

    def read(self, window: PixelWindow, out: npt.NDArray[NumberT]) -> npt.NDArray[NumberT]:
        """Read a window; no data becomes 0.

        Args:
            window: the window of the band's grid.
            out: the array to fill, of the window's shape; values are clipped to the range of its dtype.

        Returns:
            `out`.

        Raises:
            BandError: the file is damaged.
            ProviderUnavailableError: its server does not respond.
        """
        rows, columns = window.rows, window.columns
        place = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)

        def read() -> None:
            if self._no_data in (None, 0):
                self._dataset.read(1, window=place, out=out)
            else:
                values = self._dataset.read(1, window=place)
                values[values == self._no_data] = 0
                np.clip(values, 0, np.iinfo(out.dtype).max, out=out, casting="unsafe")

        def reopen_and_read() -> None:
            self._dataset.close()
            self._dataset = self._opened()
            read()

        with self._turn:
            self._tried(f"cannot be read at rows {rows.start}…{rows.stop}", read, reopen_and_read)
        return out

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _address(self) -> str:
        """Return the path that GDAL opens."""
        scheme = self.href.partition("://")[0]
        if scheme == "s3":
            if self._access.s3 is None:
                raise ConfigurationError(
                    f"item {self.item_id}: band {self.band} is at {self.href}: give its provider an S3 endpoint"
                )
            return f"/vsis3/{self.href.removeprefix('s3://')}"
        if scheme in ("http", "https") and self._access.tokens:
            return SIGNER.sign(self.href, self._access.tokens, self._access)
        return self.href

    def _opened(self) -> DatasetReader:
        return rasterio.open(self._address())

    def _tried(self, what: str, work: Callable[[], ResultT], again: Callable[[], ResultT]) -> ResultT:
        """Do the work; call `again` if the storage refuses the token or a remote file cannot be decoded.

        GDAL accepts a truncated response as complete, so decoding errors are retried after the pauses of the policy.
        """
        attempt, pauses, token_is_new = work, remote_policy.POLICY.pauses_s(), False
        while True:
            try:
                return attempt()
            except RasterioError as error:
                causes = _causes(error)
                if self._access.tokens and not token_is_new and remote_policy.is_forbidden(causes):
                    SIGNER.forget(self.href, self._access.tokens)
                    token_is_new = True
                elif (
                    self._is_remote and remote_policy.may_be_cut(causes) and (pause_s := next(pauses, None)) is not None
                ):
                    time.sleep(pause_s)
                else:
                    raise self._fault(what, causes) from error
            attempt = again

    def _fault(self, what: str, causes: str) -> EarthSignatureError:
        shown = _SECRET.sub(r"\1=…", causes)
        message = f"item {self.item_id}: band {self.band} ({self.href}) {what}: {shown}"
        variables = self._access.credential_variables
        if self._is_remote and variables and remote_policy.is_forbidden(causes):
            return CredentialError(f"{message}; check {' and '.join(variables)}, and what the account may read")
        if self._is_remote and remote_policy.can_pass(causes):
            return ProviderUnavailableError(message)
        return BandError(f"{message}; {REMEDY if self._is_remote else _LOCAL_REMEDY}")


def _check_proj() -> None:
    """Refuse an installation of PROJ that knows no CRS at all: the file is not at fault then.

    Raises:
        ConfigurationError: PROJ cannot look up a common CRS.
    """
    try:
        CRS.from_epsg(32632)
    except CRSError as error:
        raise ConfigurationError(
            f"PROJ cannot look up EPSG:32632 ({error}): PROJ_LIB or PROJ_DATA names another installation's data, or "
            "those of rasterio are damaged; unset the variables, or install rasterio again"
        ) from error


def _causes(error: BaseException) -> str:
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(" ".join(str(cause).split()))
        cause = cause.__cause__
    return "; ".join(dict.fromkeys(causes))
