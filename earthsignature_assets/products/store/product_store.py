"""The product store: finished products in a storage, and the catalogue that makes them visible.

    products/<model>/<scene>/<digest>/               the files of one product, which never change
    products/<model>/<scene>/<digest>/superseded     empty; another digest of the same name has replaced it
    models/<model>/item.json                         the STAC item of a model version, from which products derive,
                                                     next to the files that it lists
    collection.json                                  the STAC collection of all products
    catalogue.sqlite                                 the catalogue, unless it is elsewhere
    .staging/                                        unfinished publications

A publication stages, checksums, validates, places and only then records: if it stops earlier, readers see nothing of
it. The catalogue's write lock orders publications and sweeps: under it a publisher checks the whole folder before
recording it, and a sweep removes only folders without a row.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import shapely

from earthsignature_assets.errors import AlreadyExistsError, ProductError, StoreUnavailableError
from earthsignature_assets.keys import ModelVersion, SceneKey, parse_product_id
from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.collection import Extent, build_collection
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.item import (
    asset_checksums,
    build_item,
    class_codes_of,
    content_digest,
    item_bytes,
    model_item_name,
    multihash_of_sha256,
    publication_of,
)
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.store.folder_storage import FolderStorage
from earthsignature_assets.products.store.location import catalogue_location, open_catalogue, open_storage
from earthsignature_assets.products.store.staging import remove_leftovers, staging_folder
from earthsignature_assets.products.store.verification import faults_of
from earthsignature_assets.system.atomic import writing

PRODUCTS = "products"
"""The folder of all products."""

SUPERSEDED = "superseded"
"""The file that marks a folder whose product has since been published with other content."""

PRODUCT_DEPTH = 3
"""Depth of a product's folder below the store, in levels."""

_ATTEMPTS = 3
_CHUNK_BYTES = 1 << 20


class ProductStore:
    """A store in a local folder or on S3, with its catalogue in SQLite or PostGIS."""

    def __init__(self, location: Path | str, catalogue: Path | str = "") -> None:
        """Refer to a store without opening it.

        Args:
            location: a folder, `file:///folder`, or `s3://bucket/prefix`.
            catalogue: a SQLite file, `sqlite:///file`, or `postgresql://…`; by default `catalogue.sqlite` in the
                store's folder. A store on S3 has no default.

        Raises:
            InvalidKeyError: a location is of another kind, or a store on S3 has no catalogue.
        """
        self.storage = open_storage(location)
        self._catalogue = catalogue_location(self.storage, catalogue)

    def __str__(self) -> str:
        return self.storage.name

    @property
    def root(self) -> Path:
        """Folder of a store on a local disk.

        Raises:
            ProductError: the store is on S3.
        """
        if not isinstance(self.storage, FolderStorage):
            raise ProductError(f"{self} is not a local folder")
        return self.storage.root

    def open_catalogue(self, *, read_only: bool = False) -> Catalogue:
        """Open the store's catalogue; the caller closes it. For writing, it is created if absent.

        Raises:
            StoreUnavailableError: it cannot be opened, or is absent while only to be read.
        """
        return open_catalogue(self._catalogue, read_only=read_only)

    def has_catalogue(self) -> bool:
        """Tell whether the catalogue exists; in a database, this creates its empty tables.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        if isinstance(self._catalogue, Path):
            return self._catalogue.is_file()
        self.open_catalogue().close()
        return True

    def address(self, product: Product, asset: Asset) -> str:
        """Return the path or URL of a product's file, for people.

        Raises:
            ProductError: the product's folder is not one inside this store.
        """
        return f"{self}/{_folder(product)}/{asset.value}"

    def path(self, product: Product, asset: Asset) -> Path:
        """Return the path of a product's file in a store on a local disk.

        Raises:
            ProductError: the product's folder is not one inside this store, or the store is on S3.
        """
        return FolderStorage(self.root).path(f"{_folder(product)}/{asset.value}")

    def read(self, product: Product, asset: Asset) -> bytes:
        """Read the bytes of a product's file.

        Raises:
            ProductError: the file is gone (superseded and swept: search again), or its folder is not in the store.
            StoreUnavailableError: the storage cannot be read.
        """
        with _missing(product, asset):
            return self.storage.read(f"{_folder(product)}/{asset.value}")

    def read_range(self, product: Product, asset: Asset, offset: int, length: int) -> bytes:
        """Read only a range of a product's file, which may end early at the end of the file.

        Raises:
            ProductError: as `read`.
            StoreUnavailableError: the storage cannot be read.
        """
        with _missing(product, asset):
            return self.storage.read_range(f"{_folder(product)}/{asset.value}", offset, length)

    def sizes(self, product: Product) -> dict[Asset, int]:
        """Return the size in bytes of each existing file of a product."""
        sizes = self.storage.sizes(_folder(product))
        return {asset: sizes[asset.value] for asset in Asset if asset.value in sizes}

    def publish(self, draft: Draft, *, new: bool = False) -> Product:
        """Publish a draft's product, whole and at once; publishing the same content again changes nothing.

        Args:
            draft: the draft.
            new: whether the product must be new: an existing one of its name and model is then never replaced, even if
                it appears concurrently.

        Raises:
            AlreadyExistsError: `new` is set and the product exists.
            ProductError: the draft's files are not valid.
            StoreUnavailableError: the store or its disk cannot be written.
        """
        with self.open_catalogue() as catalogue:
            for _ in range(_ATTEMPTS):
                with self._staging() as staging:
                    folder = self._placed(draft, staging, catalogue)
                self._write_shared(draft)
                if self._record(catalogue, folder, new):
                    recorded = catalogue.find(draft.product_id, draft.model)
                    assert recorded is not None  # noqa: S101 - recorded a moment ago
                    return recorded
        raise StoreUnavailableError(
            f"{self}: {folder} was swept {_ATTEMPTS} times before it could be recorded: sweep with a longer grace"
        )

    def sweep(self, older_than: dt.timedelta) -> list[str]:
        """Remove what dead publishers left, and folders without a row in the catalogue.

        The grace period protects running publications and readers of a superseded product: a folder is removed once
        nothing in it was written for `older_than`.

        Returns:
            The removed folders, as relative POSIX paths.
        """
        deadline = dt.datetime.now(dt.UTC) - older_than
        remove_leftovers(self.storage.staging_root)
        removed = []
        with self.open_catalogue() as catalogue:
            kept = catalogue.folders()
            for folder in self.storage.folders(PRODUCTS, PRODUCT_DEPTH):
                if folder.name in kept or folder.written_at > deadline:
                    continue
                # Under the write lock no publication can record a folder that is being removed.
                with catalogue.transaction():
                    written_at = self.storage.written_at(folder.name)
                    if catalogue.names(folder.name) or written_at is None or written_at > deadline:
                        continue
                    self.storage.withdraw(folder.name)
                removed.append(folder.name)
        return removed

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        root = self.storage.staging_root
        with writing(root), staging_folder(root) as folder:
            yield folder

    def _placed(self, draft: Draft, staging: Path, catalogue: Catalogue) -> str:
        """Copy, checksum and validate a draft, and place it in its folder, where nobody sees it yet."""
        # Validation imports geopandas, which takes a second and which readers of the store do not need.
        from earthsignature_assets.products.validation import validate_files, validate_item

        files = _copied(draft, staging)
        areas = validate_files(draft, staging)
        earlier = catalogue.find(draft.product_id, draft.model)
        item = build_item(draft, files, areas, _now() if earlier is None else earlier.published_at)
        validate_item(item)
        folder = f"{PRODUCTS}/{draft.model}/{draft.scene}/{content_digest(item)}"
        with writing(staging / Asset.ITEM.value):
            (staging / Asset.ITEM.value).write_bytes(item_bytes(item))
        there = Asset.ITEM.value in self.storage.sizes(folder)
        if there and list(faults_of(self.storage, folder)):
            self.storage.replace(staging, folder, last=Asset.ITEM.value)
        elif not there:
            # Another publisher of the same content may come first: its folder is identical.
            self.storage.place(staging, folder, last=Asset.ITEM.value)
        return folder

    def _write_shared(self, draft: Draft) -> None:
        """Write the targets of every item's links: the collection and the model's item."""
        collection = item_bytes(build_collection(Extent(), []))
        if self._content("collection.json") != collection:
            self.storage.write("collection.json", collection)
        if draft.model_item is not None:
            self._write_model(draft.model, draft.model_item, draft.model_folder)

    def _write_model(self, model: ModelVersion, item: dict[str, Any], source: Path | None) -> None:
        """Write a model version's item with its files, unless it exists."""
        name = model_item_name(model)
        if self._content(name) == item_bytes(item):
            return
        for asset in item["assets"].values():
            if source is not None and asset["href"].startswith("./"):
                file = PurePosixPath(asset["href"]).name
                with writing(source / file):
                    content = (source / file).read_bytes()
                self.storage.write(str(PurePosixPath(name).with_name(file)), content)
        self.storage.write(name, item_bytes(item))

    def model_item(self, model: ModelVersion) -> dict[str, Any] | None:
        """Read the STAC item of a model version; None if the store has none."""
        content = self._content(model_item_name(model))
        found: dict[str, Any] | None = json.loads(content) if content is not None else None
        return found

    def _content(self, name: str) -> bytes | None:
        try:
            return self.storage.read(name)
        except FileNotFoundError:
            return None

    def _record(self, catalogue: Catalogue, folder: str, new: bool) -> bool:
        """Write the row; return false if the folder is incomplete, because it has been swept since."""
        with catalogue.transaction():
            sizes = self.storage.sizes(folder)
            if Asset.ITEM.value not in sizes:
                return False
            # Another publisher of the same content may have placed its item since: the row must match the item.
            item = self._item(folder)
            product = product_of(item, folder)
            if any(sizes.get(asset.value) != size for asset, (_, size) in asset_checksums(item).items()):
                return False
            earlier = catalogue.find(product.product_id, product.model)
            if new and earlier is not None:
                if earlier.folder != folder and SUPERSEDED not in sizes:
                    self.storage.withdraw(folder)
                raise AlreadyExistsError(f"{product.product_id} by {product.model} exists; a call never replaces it")
            if SUPERSEDED in sizes:
                self.storage.remove(f"{folder}/{SUPERSEDED}")
            if earlier is not None and earlier.folder != folder and self.storage.sizes(earlier.folder):
                # Superseded now: its grace period begins, and a rebuild of the catalogue will see it.
                self.storage.write(f"{earlier.folder}/{SUPERSEDED}", b"")
            catalogue.record(product, whole_scene=shows_whole_scene(item))
            return True

    def _item(self, folder: str) -> dict[str, Any]:
        item: dict[str, Any] = json.loads(self.storage.read(f"{folder}/{Asset.ITEM.value}"))
        return item


def product_of(item: dict[str, Any], folder: str) -> Product:
    """Build the catalogue's product from its STAC item and its folder in the store.

    Raises:
        KeyError, ValueError, InvalidKeyError: the item lacks a field, or a field does not parse.
    """
    facts = item["properties"]
    return Product(
        product_id=parse_product_id(facts["earthsignature:product_id"]),
        scene=SceneKey.parse(facts["earthsignature:scene"]),
        model=ModelVersion.parse(facts["earthsignature:model"]),
        product_type=facts["earthsignature:product_type"],
        sensed_at=dt.datetime.fromisoformat(facts["datetime"]).astimezone(dt.UTC),
        published_at=publication_of(item),
        footprint=shapely.geometry.shape(item["geometry"]),
        cloud_cover_percent=facts["eo:cloud_cover"],
        class_codes=class_codes_of(item),
        folder=folder,
    )


def shows_whole_scene(item: dict[str, Any]) -> bool:
    """Tell whether an item's product supersedes the others of its scene and baseline."""
    return bool(item["properties"].get("earthsignature:whole_scene", True))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _folder(product: Product) -> str:
    folder = PurePosixPath(product.folder)
    if (
        folder.is_absolute()
        or ".." in folder.parts
        or folder.parts[:1] != (PRODUCTS,)
        or len(folder.parts) != 1 + PRODUCT_DEPTH
    ):
        raise ProductError(f"{product.product_id}: folder {product.folder!r} is not inside the store")
    return product.folder


def _copied(draft: Draft, staging: Path) -> dict[Asset, tuple[str, int]]:
    """Copy a draft's files; return the multihash and size of each."""
    files: dict[Asset, tuple[str, int]] = {}
    for asset in Asset:
        if asset is Asset.ITEM:
            continue
        if not draft.path(asset).is_file():
            raise ProductError(f"{draft.product_id}: {asset.value} is missing from the draft {draft.folder}")
        digest, size = hashlib.sha256(), 0
        with (
            writing(staging / asset.value),
            draft.path(asset).open("rb") as source,
            (staging / asset.value).open("wb") as target,
        ):
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
                size += len(chunk)
        files[asset] = (multihash_of_sha256(digest.hexdigest()), size)
    return files


@contextmanager
def _missing(product: Product, asset: Asset) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ProductError(
            f"{product.product_id}: {asset.value} is missing in {product.folder}; search again, a newer "
            "version may have superseded it"
        ) from error
