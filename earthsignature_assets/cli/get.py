"""`earthsignature get`: products from a service as files."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from earthsignature_assets.keys import parse_product_id
from earthsignature_grpc.client import EarthSignatureClient


def fetch_products(
    target: str,
    form: str,
    folder: Path,
    *,
    area: str | None,
    start: dt.datetime | None,
    end: dt.datetime | None,
    products: tuple[str, ...],
    categories: tuple[str, ...],
    model: str | None,
    limit: int | None,
) -> Iterator[str]:
    """Write what matches into a folder; yields a line for each product.

    Args:
        target: host:port of the service.
        form: `geotiff`, `geoparquet`, `geojson` or `ids`.
        folder: where the files go, made if absent.
        area: WKT in EPSG:4326.
        start: first day of acquisition.
        end: last day of acquisition.
        products: Sentinel-2 product names.
        categories: CORINE codes or class names.
        model: model version.
        limit: at most this many products.

    Raises:
        EarthSignatureError: the service refuses a filter or does not answer.
    """
    days = {"start": start.date() if start else None, "end": end.date() if end else None}
    with EarthSignatureClient(target) as client:
        if form == "ids":
            for name in client.product_ids(area=area, **days, categories=categories, model=model):
                yield f"{name.product_id}  {name.model}  {name.acquired_on}  {name.footprint.wkt}"
            return
        folder.mkdir(parents=True, exist_ok=True)
        if form == "geotiff":
            for raster in client.segmentations_v1(
                area=area, **days, product_ids=products, categories=categories, limit=limit, model=model
            ):
                # The name comes over the wire: only a Sentinel-2 product name becomes a path.
                stem = parse_product_id(raster.product_id)
                for part, content in (("land_cover", raster.land_cover), ("cloud_mask", raster.cloud_mask)):
                    path = folder / f"{stem}_{part}.tif"
                    path.write_bytes(content)
                    yield f"{path}  {len(content) / 1e6:.1f} MB"
            return
        for polygons in client.polygons_v2(
            area=area, **days, product_ids=products, categories=categories, limit=limit, model=model
        ):
            frame = polygons.frame()
            stem = parse_product_id(str(frame.attrs["product_id"]))
            path = folder / f"{stem}.{'parquet' if form == 'geoparquet' else 'geojson'}"
            if form == "geoparquet":
                frame.to_parquet(path, compression="zstd", write_covering_bbox=True)
            else:
                frame.to_file(path, driver="GeoJSON", engine="pyogrio")
            yield f"{path}  {len(frame)} polygons"
