"""Peers of the reading of scenes: the methods in the guides of the field's libraries."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.row import Options

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from earthsignature_assets.imagery.scenes.scene import Scene


def without_odc_stac() -> str | None:
    """Return the reason why odc-stac cannot run here, or None."""
    try:
        import odc.stac  # noqa: F401
    except ImportError:
        return "odc-stac is not installed (dependency group bench)"
    return None


def read_naively(scene: "Scene") -> float:
    """Read each band whole, resampled by GDAL, as float32 into one array, without a mask; return the seconds."""
    started = time.perf_counter()
    _naive_stack(scene)
    return time.perf_counter() - started


def _naive_stack(scene: "Scene") -> "npt.NDArray[np.float32]":
    import numpy as np
    import rasterio
    from rasterio.enums import Resampling

    files = scene.parts[0].bands
    stack = np.empty((len(files), *scene.grid.shape), np.float32)
    for layer, band in zip(stack, files.values(), strict=True):
        with rasterio.open(band.href) as dataset:
            layer[:] = dataset.read(1, out_shape=scene.grid.shape, resampling=Resampling.bilinear)
    stack += next(iter(files.values())).offset_dn
    stack /= 10_000
    return stack


def _write_naively(scene: "Scene", path: Path) -> float:
    import xarray as xr

    from earthsignature_assets.imagery.patches.patch_store import PATCH_SIZE

    started = time.perf_counter()
    stack = _naive_stack(scene)
    chunks = (len(stack), PATCH_SIZE, PATCH_SIZE)
    dataset = xr.Dataset({"reflectance": (("band", "y", "x"), stack)})
    dataset.to_zarr(path, mode="w", encoding={"reflectance": {"chunks": chunks}}, consolidated=False)
    return time.perf_counter() - started


def _read_by_rioxarray(scene: "Scene") -> float:
    import rioxarray
    import xarray as xr
    from rasterio.enums import Resampling

    started = time.perf_counter()
    layers = {}
    reference = None
    for name, band in scene.parts[0].bands.items():
        array = rioxarray.open_rasterio(band.href)
        assert isinstance(array, xr.DataArray)
        array = array.squeeze("band", drop=True)
        if reference is None:
            reference = array
        elif array.shape != reference.shape:
            array = array.rio.reproject_match(reference, resampling=Resampling.bilinear)
        layers[name] = (array.astype("float32") + band.offset_dn) / 10_000
    xr.Dataset(layers).load()
    return time.perf_counter() - started


def _read_by_odc_stac(scene: "Scene", item: Mapping[str, object]) -> float:
    import odc.stac
    import pystac

    from earthsignature_assets.imagery.providers.provider import PROVIDERS

    started = time.perf_counter()
    keys = [PROVIDERS["earth-search"].band_assets[band] for band in scene.parts[0].bands]
    cube = odc.stac.load(
        [pystac.Item.from_dict(dict(item))],
        bands=keys,
        resolution=10,
        crs=f"EPSG:{scene.grid.epsg}",
        resampling="bilinear",
        chunks={"x": 2048, "y": 2048},
    )
    ((cube.astype("float32") - 1000) / 10_000).compute()
    return time.perf_counter() - started


@contextmanager
def naive_rasterio(options: Options) -> Iterator[Callable[[], float]]:
    """Time `read_naively`."""
    from benchmarks.imagery import simulated_scene

    scene = simulated_scene(options)
    yield lambda: read_naively(scene)


@contextmanager
def by_rioxarray(options: Options) -> Iterator[Callable[[], float]]:
    """Time `open_rasterio` and `reproject_match` of each band, float32, without a mask."""
    from benchmarks.imagery import simulated_scene

    scene = simulated_scene(options)
    yield lambda: _read_by_rioxarray(scene)


@contextmanager
def by_odc_stac(options: Options) -> Iterator[Callable[[], float]]:
    """Time `odc.stac.load` with dask on its threads, float32, without a mask."""
    from benchmarks.imagery import simulated_item, simulated_scene

    scene, item = simulated_scene(options), simulated_item(options)
    yield lambda: _read_by_odc_stac(scene, item)


@contextmanager
def naive_rasterio_to_zarr(options: Options) -> Iterator[Callable[[], float]]:
    """Write the stack of `read_naively` by xarray with its default compression, one chunk a patch, without a mask."""
    from benchmarks.imagery import a_tile, simulated_scene

    scene = simulated_scene(options)
    yield lambda: a_tile(_write_naively(scene, options.folder / "naive.zarr"), options)
