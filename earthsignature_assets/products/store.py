"""The product store: folders of finished products beside the catalogue that makes them visible.

    <root>/catalogue.sqlite                          what readers see
    <root>/products/<model>/<scene>/<digest>/        the files of one product, never changed once there
    <root>/.staging/                                 products on their way; nothing in it counts

A publication stages, validates, checksums, renames and only then records: whatever stops it earlier leaves
nothing that a reader sees, and `sweep` removes what it left.
"""

import datetime as dt
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from earthsignature_assets.errors import ProductError, StoreUnavailableError
from earthsignature_assets.products.catalogue import Catalogue
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.item import (
    asset_checksums,
    build_item,
    class_codes_of,
    content_digest,
    item_bytes,
    multihash,
    publication_of,
)
from earthsignature_assets.products.product import Asset, Product
from earthsignature_assets.products.sqlite_catalogue import SqliteCatalogue

_ATTEMPTS = 3


@dataclass(frozen=True)
class Damage:
    """One file of one published product that is not what it was: which, and how."""

    product: Product
    asset: Asset
    fault: str


class ProductStore:
    """A store in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._products = root / "products"
        self._staging = root / ".staging"

    @property
    def catalogue_path(self) -> Path:
        """Where the catalogue lies."""
        return self.root / "catalogue.sqlite"

    def open_catalogue(self, *, read_only: bool = False) -> Catalogue:
        """Open the store's catalogue; the caller closes it. For writing, it is made if absent.

        Raises:
            StoreUnavailableError: it cannot be opened, or is absent and to be read only.
        """
        return SqliteCatalogue(self.catalogue_path, read_only=read_only)

    def path(self, product: Product, asset: Asset) -> Path:
        """Where a product's file lies.

        Raises:
            ProductError: the product's folder is not one inside this store.
        """
        folder = PurePosixPath(product.folder)
        if folder.is_absolute() or ".." in folder.parts or folder.parts[:1] != ("products",) or len(folder.parts) != 4:
            raise ProductError(f"{product.product_id}: folder {product.folder!r} is not inside the store")
        path = self.root / folder / asset.value
        if not path.resolve().is_relative_to(self._products.resolve()):
            raise ProductError(f"{product.product_id}: folder {product.folder!r} leads out of the store")
        return path

    def read(self, product: Product, asset: Asset) -> bytes:
        """The bytes of a product's file.

        Raises:
            ProductError: the file is gone (superseded and swept: search again), or its folder is not in the store.
            StoreUnavailableError: the disk does not give it.
        """
        path = self.path(product, asset)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            if not self.root.is_dir():
                raise StoreUnavailableError(f"product store {self.root} is not there: mount or create it") from error
            raise ProductError(
                f"{product.product_id}: {asset.value} is missing in {product.folder}; search again, a newer "
                "version may have superseded it"
            ) from error
        except OSError as error:
            raise StoreUnavailableError(f"{path} cannot be read: {error}") from error

    def publish(self, draft: Draft) -> Product:
        """Make a draft's product visible, whole and at once; the same content again changes nothing.

        Raises:
            ProductError: the draft's files are not what they must be.
            StoreUnavailableError: the store or its disk cannot be written.
        """
        with self.open_catalogue() as catalogue:
            for _ in range(_ATTEMPTS):
                with self._staged(draft) as staging:
                    product = self._placed(draft, staging, catalogue)
                if self._record(catalogue, product):
                    recorded = catalogue.find(draft.product_id, draft.model)
                    assert recorded is not None  # noqa: S101 - recorded a moment ago
                    return recorded
        raise StoreUnavailableError(
            f"{self.root}: {product.folder} was swept {_ATTEMPTS} times before it could be recorded: sweep with a "
            "longer grace"
        )

    def verify(self, catalogue: Catalogue) -> Iterator[Damage]:
        """Re-check every file of every product against its checksum; yields what is damaged or missing."""
        for product in catalogue.all_products():
            folder = self.root / product.folder
            faults = list(_faults(folder))
            for asset, fault in faults:
                yield Damage(product, asset, fault)
            if not faults and publication_of(_read_item(folder)) != product.published_at:
                yield Damage(product, Asset.ITEM, f"has changed: it was published at {product.published_at}")

    def sweep(self, older_than: dt.timedelta) -> list[str]:
        """Remove what no reader can need: staging, and folders that no row names, untouched for `older_than`.

        The grace covers publications under way and readers that hold a superseded product.

        Returns:
            The removed folders, as relative POSIX paths.
        """
        deadline = dt.datetime.now(dt.UTC).timestamp() - older_than.total_seconds()
        with self.open_catalogue() as catalogue, _translated(self.root):
            # Under the write lock no publication can record a folder that is being put away.
            with catalogue.transaction():
                kept = catalogue.folders()
                unused = [
                    folder
                    for folder in sorted(self._products.glob("*/*/*"))
                    if folder.relative_to(self.root).as_posix() not in kept and folder.stat().st_mtime <= deadline
                ]
                stale = [folder for folder in self._staging.glob("*") if folder.stat().st_mtime <= deadline]
                stale += [self._set_aside(folder) for folder in unused]
            for folder in stale:
                shutil.rmtree(folder, ignore_errors=True)
        return [folder.relative_to(self.root).as_posix() for folder in unused]

    @contextmanager
    def _staged(self, draft: Draft) -> Iterator[Path]:
        """Copy the draft's files into a new staging folder, which is gone at the end unless it was renamed."""
        staging = self._staging / uuid.uuid4().hex
        try:
            with _translated(staging):
                staging.mkdir(parents=True)
            for asset in Asset:
                if asset is Asset.ITEM:
                    continue
                if not draft.path(asset).is_file():
                    raise ProductError(f"{draft.product_id}: {asset.value} is missing from the draft {draft.folder}")
                with _translated(staging / asset.value):
                    shutil.copyfile(draft.path(asset), staging / asset.value)
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _placed(self, draft: Draft, staging: Path, catalogue: Catalogue) -> Product:
        """Check and checksum what is staged and bring it to its folder, where nobody sees it yet."""
        # Validation brings geopandas, which readers of the store have no use for and would wait a second for.
        from earthsignature_assets.products.validation import validate_files

        areas_m2 = validate_files(draft, staging)
        files = _checksums(staging)
        earlier = catalogue.find(draft.product_id, draft.model)
        item = build_item(draft, files, areas_m2, _now() if earlier is None else earlier.published_at)
        folder = f"products/{draft.model}/{draft.scene}/{content_digest(item)}"
        item = self._place(staging, item, self.root / folder)
        return Product(
            product_id=draft.product_id,
            scene=draft.scene,
            model=draft.model,
            product_type=draft.product_type,
            sensed_at=draft.sensed_at,
            published_at=publication_of(item),
            footprint=draft.footprint,
            cloud_cover_percent=draft.cloud_cover_percent,
            class_codes=class_codes_of(item),
            folder=folder,
        )

    def _place(self, staging: Path, item: dict[str, Any], target: Path) -> dict[str, Any]:
        """Rename the staged product to its folder, or take the same one that is there; returns its item."""
        with _translated(target):
            if target.is_dir():
                if not list(_faults(target)):
                    os.utime(target)  # a sweep counts its grace from here
                    return _read_item(target)
                self._set_aside(target)
            (staging / Asset.ITEM.value).write_bytes(item_bytes(item))
            for path in [*sorted(staging.iterdir()), staging]:
                _synchronise(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                staging.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return _read_item(target)  # another publisher of the same content came first
            for folder in (target.parent, target.parent.parent, self._products):
                _synchronise(folder)
            return item

    def _record(self, catalogue: Catalogue, product: Product) -> bool:
        """Write the row; False if the folder was swept since it was placed."""
        with catalogue.transaction(), _translated(self.root):
            if not (self.root / product.folder).is_dir():
                return False
            earlier = catalogue.find(product.product_id, product.model)
            if earlier is not None and earlier.folder != product.folder and (self.root / earlier.folder).is_dir():
                os.utime(self.root / earlier.folder)  # superseded now: its grace begins
            catalogue.record(product)
            return True

    def _set_aside(self, folder: Path) -> Path:
        aside = self._staging / uuid.uuid4().hex
        self._staging.mkdir(exist_ok=True)
        folder.rename(aside)
        return aside


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _checksums(folder: Path) -> dict[Asset, tuple[str, int]]:
    files: dict[Asset, tuple[str, int]] = {}
    for asset in Asset:
        if asset is not Asset.ITEM:
            with _translated(folder / asset.value):
                content = (folder / asset.value).read_bytes()
            files[asset] = (multihash(content), len(content))
    return files


def _read_item(folder: Path) -> dict[str, Any]:
    item: dict[str, Any] = json.loads((folder / Asset.ITEM.value).read_bytes())
    return item


def _faults(folder: Path) -> Iterator[tuple[Asset, str]]:
    try:
        content = (folder / Asset.ITEM.value).read_bytes()
        item = json.loads(content)
        digest, expected = content_digest(item), asset_checksums(item)
        publication_of(item)
    except FileNotFoundError:
        yield Asset.ITEM, "is missing"
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield Asset.ITEM, f"cannot be read: {error!r}"
        return
    if digest != folder.name or content != item_bytes(item):
        yield Asset.ITEM, "has changed: its digest is not its folder's name"
    for asset, (checksum, size) in expected.items():
        try:
            content = (folder / asset.value).read_bytes()
        except FileNotFoundError:
            yield asset, "is missing"
        except OSError as error:
            yield asset, f"cannot be read: {error}"
        else:
            if len(content) != size:
                yield asset, f"has {len(content)} bytes, published were {size}"
            elif multihash(content) != checksum:
                yield asset, "has changed: its SHA-256 is not the one in item.json"


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} cannot be written: {error.strerror or error}; check that the disk has room and that this user "
            "may write there"
        ) from error
