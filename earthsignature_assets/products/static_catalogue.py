"""Export of the archive for any STAC tool: a static catalogue with stac-geoparquet.

    <folder>/catalog.json
    <folder>/land-cover/collection.json
    <folder>/land-cover/<year-month>/catalog.json
    <folder>/land-cover/<year-month>/<item>.json
    <folder>/land-cover/<year-month>/items.parquet
    <folder>/models/<model>.json

The items' files stay in the store; their hrefs are absolute.
"""

import json
import posixpath
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rustac

from earthsignature_assets.errors import ProductError, StoreUnavailableError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.products.catalogue.catalogue import Catalogue, ProductQuery
from earthsignature_assets.products.collection import Extent, build_collection
from earthsignature_assets.products.item import item_bytes, model_item_name
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.system.atomic import whole_folder

_CATALOG = "catalog.json"
_COLLECTION_FOLDER, _MODELS_FOLDER = "land-cover", "models"
_JSON, _GEOJSON, _PARQUET = "application/json", "application/geo+json", "application/vnd.apache.parquet"


def export_stac(
    store: ProductStore,
    catalogue: Catalogue,
    folder: Path,
    model: ModelVersion | None = None,
    progress: Callable[[Product], None] = lambda _: None,
) -> int:
    """Write the products that readers see as a static STAC catalogue; an earlier export is replaced at the end.

    Args:
        store: the products.
        catalogue: the store's catalogue.
        folder: the folder to write; absent, empty, or with an earlier export.
        model: the model version; by default the current one of each scene.
        progress: called for each product written.

    Returns:
        The number of items.

    Raises:
        ProductError: the folder has other content, or a product's item is lost.
        StoreUnavailableError: the store cannot be read, or the folder cannot be written.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder / _CATALOG).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProductError(f"{folder} has other content than an export: give another folder")
    with whole_folder(folder) as partial:
        (partial / _COLLECTION_FOLDER).mkdir()
        return _write(store, catalogue, partial, model, progress)


def _write(
    store: ProductStore,
    catalogue: Catalogue,
    folder: Path,
    model: ModelVersion | None,
    progress: Callable[[Product], None],
) -> int:
    base = _base_url(store)
    extent, months, models, written = Extent(), list[str](), set[ModelVersion](), 0
    products = catalogue.search(ProductQuery(model=model, oldest_first=True))
    for month, members in groupby(products, lambda product: f"{product.sensed_at:%Y-%m}"):
        items = []
        for product in members:
            items.append(
                _exported(json.loads(store.read(product, Asset.ITEM)), f"{base}/{product.folder}/", product.model)
            )
            models.add(product.model)
            extent.include(product)
            progress(product)
        _write_month(folder / _COLLECTION_FOLDER / month, month, items)
        months.append(month)
        written += len(items)
    _write_models(store, folder / _MODELS_FOLDER, models, base)
    links = [
        _link("root", f"../{_CATALOG}"),
        _link("parent", f"../{_CATALOG}"),
        *(_link("child", f"./{month}/{_CATALOG}", title=month) for month in months),
    ]
    collection = build_collection(extent, links)
    collection["assets"] = {
        f"items-{month}": {
            "href": f"./{month}/items.parquet",
            "type": _PARQUET,
            "roles": ["collection-mirror"],
            "title": f"The items of {month} as stac-geoparquet",
        }
        for month in months
    }
    _write_json(folder / _COLLECTION_FOLDER / "collection.json", collection)
    _write_json(
        folder / _CATALOG,
        _catalog(
            "earthsignature",
            "EarthSignature",
            [
                _link("root", f"./{_CATALOG}"),
                _link("child", f"./{_COLLECTION_FOLDER}/collection.json", title=collection["title"]),
            ],
        ),
    )
    return written


def _write_month(folder: Path, month: str, items: list[dict[str, Any]]) -> None:
    folder.mkdir()
    for item in items:
        (folder / f"{item['id']}.json").write_bytes(item_bytes(item))
    try:
        rustac.write_sync(str(folder / "items.parquet"), items)
    except Exception as error:  # rustac does not export its exception types
        raise StoreUnavailableError(f"{folder / 'items.parquet'} cannot be written: {error}") from error
    links = [
        _link("root", f"../../{_CATALOG}"),
        _link("parent", "../collection.json"),
        *(_link("item", f"./{item['id']}.json", kind=_GEOJSON) for item in items),
    ]
    _write_json(folder / _CATALOG, _catalog(f"earthsignature-{month}", f"Land cover of {month}", links))


def _write_models(store: ProductStore, folder: Path, models: set[ModelVersion], base: str) -> None:
    """Write the items of the model versions; their files stay in the store, as for products."""
    folder.mkdir()
    for model in sorted(models):
        if (item := store.model_item(model)) is not None:
            url = f"{base}/{posixpath.dirname(model_item_name(model))}/"
            _write_json(folder / f"{model}.json", item | {"assets": _absolute_assets(item, url)})


def _exported(item: dict[str, Any], folder_url: str, model: ModelVersion) -> dict[str, Any]:
    """Return an item for its place in the export, with absolute hrefs of files and relative ones of other items."""
    links = [
        link
        | {
            "href": f"../../{_MODELS_FOLDER}/{model}.json"
            if link["href"].endswith(model_item_name(model))
            else _absolute(folder_url, link["href"])
        }
        for link in item["links"]
        if link["rel"] not in ("root", "parent", "collection", "self")
    ]
    links += [
        _link("root", f"../../{_CATALOG}"),
        _link("parent", f"./{_CATALOG}"),
        _link("collection", "../collection.json"),
    ]
    return item | {"assets": _absolute_assets(item, folder_url), "links": links}


def _absolute_assets(item: dict[str, Any], folder_url: str) -> dict[str, Any]:
    return {name: asset | {"href": _absolute(folder_url, asset["href"])} for name, asset in item["assets"].items()}


def _absolute(folder_url: str, href: str) -> str:
    """Resolve a href relative to a product's folder; others stay. `urljoin` does not support s3."""
    if not href.startswith("."):
        return href
    scheme, _, path = folder_url.partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(path, href))}"


def _base_url(store: ProductStore) -> str:
    name = str(store)
    return name if "://" in name else "file://" + quote(str(Path(name).resolve()))


def _catalog(name: str, title: str, links: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": name,
        "title": title,
        "description": "CORINE land cover from Sentinel-2 images.",
        "links": links,
    }


def _link(relation: str, href: str, kind: str = _JSON, title: str = "") -> dict[str, Any]:
    return {"rel": relation, "href": href, "type": kind} | ({"title": title} if title else {})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
