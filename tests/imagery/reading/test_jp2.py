"""Scenes in JPEG 2000 as ESA, CDSE and Earth Search's L1C publish them, written losslessly by GDAL."""

import dataclasses
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from earthsignature_assets.errors import BandError
from earthsignature_assets.imagery.patches.patch_store import PatchStore
from earthsignature_assets.imagery.patches.patch_writing import write_patches
from earthsignature_assets.imagery.providers.access import S3
from earthsignature_assets.imagery.providers.provider import PROVIDERS, Provider
from earthsignature_assets.imagery.scenes.scene import Scene, scene_item
from earthsignature_assets.sentinel2 import S2_BANDS
from earthsignature_assets.simulator import SimulatedScene

CDSE, L1C = PROVIDERS["cdse"], PROVIDERS["earth-search-l1c"]


@pytest.fixture(scope="module")
def jp2s(simulated: SimulatedScene, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Write the bands and the classification of the simulated scene; like ESA's files they have no no-data value."""
    folder, made = tmp_path_factory.mktemp("jp2"), {}
    for band in (*S2_BANDS, "SCL"):
        made[band] = folder / f"{band}.jp2"
        with rasterio.open(simulated.folder / f"{band}.tif") as source:
            profile = {name: source.profile[name] for name in ("width", "height", "count", "dtype", "crs", "transform")}
            options = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": 256, "BLOCKYSIZE": 256}
            with rasterio.open(made[band], "w", driver="JP2OpenJPEG", **profile, **options) as target:
                target.write(source.read())
    return made


def published(simulated: SimulatedScene, provider: Provider, hrefs: Mapping[str, str], **facts: Any) -> dict[str, Any]:
    """Rewrite the simulated item in the dialect of CDSE or Earth Search's L1C, with other files."""
    stated, level = simulated.item, provider.level
    properties = stated["properties"]
    code = f"EPSG:{properties['proj:epsg']}"
    assets = {}
    for band, key in {**PROVIDERS["earth-search"].band_assets, "SCL": "scl"}.items():
        asset_key = provider.classification_asset if band == "SCL" else provider.band_assets[band]
        if asset_key:
            told = {name: stated["assets"][key][name] for name in ("proj:shape", "proj:transform")}
            assets[asset_key] = {
                "href": hrefs[band],
                "proj:code": code,
                "raster:scale": 1e-4,
                "raster:offset": -0.1,
            } | told
    return {
        "id": properties["s2:product_uri"].removesuffix(".SAFE").replace("MSIL2A", f"MSI{level}"),
        "collection": provider.collection,
        "geometry": stated["geometry"],
        "assets": assets,
        "properties": {
            "datetime": properties["datetime"],
            "grid:code": properties["grid:code"],
            "product:type": f"S2MSI{'2A' if level == 'L2A' else '1C'}",
            "processing:version": "05.11",
            "processing:datetime": properties["s2:generation_time"],
        }
        | facts,
    }


def patches(scene: Scene, path: Path) -> PatchStore:
    write_patches(scene, S2_BANDS, path, patch_size=256)
    return PatchStore(path)


def assert_same(one: PatchStore, other: PatchStore) -> None:
    assert np.array_equal(one.reflectance(slice(None)), other.reflectance(slice(None)))
    assert np.array_equal(one.no_data(), other.no_data())
    assert np.array_equal(one.unreliable(), other.unreliable())


def put(address: str, content: bytes | None = None) -> None:
    headers = {"Content-Type": "application/octet-stream"} if content else {}
    request = urllib.request.Request(address, content, headers, method="PUT")
    urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def counted(s3_server: str, folder: Path) -> Iterator[tuple[str, Callable[[], tuple[int, int]]]]:
    """Run an S3 server behind a proxy that delays each request by 50 ms; yield its URL, and a function that returns the
    largest numbers of concurrent requests and open connections."""
    log = folder / "requests"
    command = [sys.executable, str(Path(__file__).with_name("counting_proxy.py")), s3_server[7:], str(log), "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:

        def most() -> tuple[int, int]:
            under_way, connections = zip(*map(json.loads, log.read_text().splitlines()), strict=True)
            return max(under_way), max(connections)

        try:
            assert proxy.stdout
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}", most
        finally:
            proxy.kill()


def test_jp2_on_s3_as_cdse_publishes_it_gives_the_patches_of_the_cogs_over_four_connections(
    simulated: SimulatedScene,
    scene: Scene,
    jp2s: Mapping[str, Path],
    s3_server: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert CDSE.access.s3 is not None
    monkeypatch.setenv(CDSE.access.s3.key_variable, "key")
    monkeypatch.setenv(CDSE.access.s3.secret_variable, "secret")
    bucket = f"eodata-{tmp_path.parent.name}"
    put(f"{s3_server}/{bucket}")
    for path in jp2s.values():
        put(f"{s3_server}/{bucket}/{path.name}", path.read_bytes())
    hrefs = {band: f"s3://{bucket}/{path.name}" for band, path in jp2s.items()}
    with counted(s3_server, tmp_path) as (endpoint, most):
        s3 = dataclasses.replace(CDSE.access.s3, endpoint=endpoint, region="us-east-1")
        provider = dataclasses.replace(CDSE, access=dataclasses.replace(CDSE.access, s3=s3))
        item = scene_item(published(simulated, provider, hrefs), provider, S2_BANDS)
        assert (item.baseline, item.bands["B05"].offset_dn) == ((5, 11), -1000)
        store = patches(Scene((item,)), tmp_path / "jp2.zarr")
        assert most() == (4, 4)  # concurrent requests, open connections: the limit of a CDSE account
    assert_same(store, patches(scene, tmp_path / "cog.zarr"))


@pytest.mark.parametrize(("offset", "offset_dn"), [(-0.1, -1000), (0, 0)])
def test_l1c_in_jp2_is_offset_by_its_item_and_masked_by_the_cloud_model(
    simulated: SimulatedScene, jp2s: Mapping[str, Path], tmp_path: Path, offset: float, offset_dn: int
) -> None:
    pytest.importorskip("ukis_csmask")
    provider = dataclasses.replace(L1C, access=dataclasses.replace(L1C.access, s3=None))
    stated = published(simulated, provider, {band: str(path) for band, path in jp2s.items()})
    for asset in stated["assets"].values():
        asset["raster:offset"] = offset
    item = scene_item(stated, provider, S2_BANDS)
    assert (item.product_type, item.classification, item.bands["B8A"].offset_dn) == ("S2MSI1C", None, offset_dn)
    store = patches(Scene((item,)), tmp_path / "l1c.zarr")
    assert store.level == "L1C"
    with rasterio.open(jp2s["B08"]) as dataset:
        dn = dataset.read(1).astype(int)
    valid = ~store.no_data()
    nir = store.reflectance(slice(None))[S2_BANDS.index("B08")]
    assert 0.6 < valid.mean() < 0.8
    assert np.array_equal(nir[valid], np.maximum(dn[valid] + offset_dn, 1))
    assert not nir[~valid].any()


@pytest.mark.parametrize(("baseline", "offset_dn"), [("04.00", -1000), ("03.01", 0), ("2.05", 0), ("5.09", -1000)])
def test_jp2_is_offset_by_the_baseline_under_the_baseline_rule(
    simulated: SimulatedScene, jp2s: Mapping[str, Path], baseline: str, offset_dn: int
) -> None:
    provider = dataclasses.replace(CDSE, offset_rule=PROVIDERS["planetary-computer"].offset_rule)
    hrefs = {band: str(path) for band, path in jp2s.items()}
    item = scene_item(published(simulated, provider, hrefs, **{"processing:version": baseline}), provider, S2_BANDS)
    assert {file.offset_dn for file in item.bands.values()} == {offset_dn}


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_a_truncated_jp2_is_named_and_leaves_nothing(
    simulated: SimulatedScene, jp2s: Mapping[str, Path], tmp_path: Path, kept: float
) -> None:
    provider = dataclasses.replace(CDSE, access=dataclasses.replace(CDSE.access, s3=None))
    content, cut = jp2s["B11"].read_bytes(), tmp_path / "B11.jp2"
    cut.write_bytes(content[: int(kept * len(content))])
    item = scene_item(
        published(simulated, provider, {band: str(path) for band, path in jp2s.items()} | {"B11": str(cut)}),
        provider,
        S2_BANDS,
    )
    with pytest.raises(BandError, match=rf"item {item.item_id}: band B11 .*materialise `discovered_items`"):
        write_patches(Scene((item,)), S2_BANDS, tmp_path / "patches.zarr")
    assert not (tmp_path / "patches.zarr").exists()


def test_s3_of_cdse_is_addressed_by_path() -> None:
    s3 = CDSE.access.s3
    assert s3 == S3("https://eodata.dataspace.copernicus.eu", "CDSE_ACCESS_KEY_ID", "CDSE_SECRET_ACCESS_KEY")
    assert s3.gdal_options({"CDSE_ACCESS_KEY_ID": "a", "CDSE_SECRET_ACCESS_KEY": "b"})["AWS_VIRTUAL_HOSTING"] == "FALSE"
