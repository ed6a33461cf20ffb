"""The catalogue of published products, searched by place, time, class and model.

One interface and one SQL for two databases: SQLite in a file, PostGIS on a server. A product becomes visible with its
row; the store manages the files.
"""

import datetime as dt
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import shapely
from shapely.geometry.base import BaseGeometry

from earthsignature_assets.keys import ModelVersion, SceneKey
from earthsignature_assets.nomenclature import class_mask, codes_of_mask
from earthsignature_assets.products.catalogue.query import Position, ProductQuery
from earthsignature_assets.products.product import Product

__all__ = ["Catalogue", "Change", "ModelCount", "Position", "ProductQuery", "Promotion"]

BUSY_TIMEOUT_S = 30.0
"""Longest wait of a writer for other writers."""

_ROWS_AT_ONCE = 256
_FACTS = (
    "product_id",
    "model",
    "scene",
    "product_type",
    "sensed_at",
    "published_at",
    "footprint",
    "cloud_cover_percent",
    "class_mask",
    "folder",
)
_FOOTPRINT = _FACTS.index("footprint")
# Parsing the keys of rows takes a third of the time of a search, and the same keys recur.
_scene = lru_cache(maxsize=65_536)(SceneKey.parse)
_model = lru_cache(maxsize=1_024)(ModelVersion.parse)
BASELINE = "substr(product_id, 29, 4)"
"""SQL for the baseline in a Sentinel-2 product name, at a fixed position: four digits, which compare as text."""

_BETTER_OF_SCENE = "other.scene = product.scene AND other.best"
_BETTER_OF_NAME = "other.product_id = product.product_id"


@dataclass(frozen=True)
class Promotion:
    """One decision to serve a model version, with its time (UTC), author and reason."""

    model: ModelVersion
    promoted_at: dt.datetime
    who: str
    why: str


@dataclass(frozen=True)
class Change:
    """A product and the number of its latest change; numbers grow in the order in which changes became visible."""

    number: int
    product: Product


@dataclass(frozen=True)
class ModelCount:
    """Numbers of products that a model version serves when a query chooses it, and when it chooses no model."""

    model: ModelVersion
    products: int
    current: int


class Catalogue(ABC):
    """The products that readers see.

    Threads share one object, and each gets its own connection. Readers who choose neither a name nor a model see, of
    each scene, the highest baseline by the most recently promoted model version that the scene has. The first version
    recorded is promoted automatically.

    Raises:
        StoreUnavailableError: from every method, if the database cannot be reached, read or written, is locked by
            writers for longer than 30 s, or has the schema of a newer program.
    """

    # The differences between the two SQL dialects.
    _first_then: ClassVar[str]
    """The join operator; in SQLite it fixes the order of the tables."""
    _footprint_read: ClassVar[str] = "footprint"
    _footprint_written: ClassVar[str] = ":footprint"

    read_only: bool

    def __init__(self) -> None:
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the connections of every thread; the catalogue cannot be used afterwards."""

    def search(self, query: ProductQuery) -> Iterator[Product]:
        """Yield the matching products, newest acquisition first, then by product name; `oldest_first` reverses that.

        The matching rows are selected at the first step, then read in chunks, so that a slow consumer keeps no
        transaction open. The iterator may move between threads.
        """
        keys = self._matching_keys(query)
        area = query.area
        if area is not None:
            shapely.prepare(area)
        found = 0
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            for product in self._read(keys[first : first + _ROWS_AT_ONCE], area):
                if found == query.limit:
                    return
                found += 1
                yield product

    def find(self, product_id: str, model: ModelVersion | None = None) -> Product | None:
        """Return the product of a Sentinel-2 name by `model`, by default the current one; None if there is none."""
        query = ProductQuery(product_ids=frozenset({product_id}), model=model, limit=1)
        return next(self.search(query), None)

    def count(self, model: ModelVersion | None = None) -> int:
        """Count the products served if a query chooses `model`, or if it chooses no model."""
        if model is None:
            text = f"SELECT count(*) FROM {self._served()} WHERE best AND {_unbeaten(_BETTER_OF_SCENE)}"
            return int(self._rows(text)[0][0])
        return int(
            self._rows("SELECT count(*) FROM product WHERE best AND model = :model", {"model": str(model)})[0][0]
        )

    def models(self) -> list[ModelCount]:
        """List the model versions with products, ordered by name and number."""
        held = self._rows("SELECT model, count(*) FROM product WHERE best GROUP BY model")
        text = f"SELECT product.model, count(*) FROM {self._served()} WHERE best AND {_unbeaten(_BETTER_OF_SCENE)} "
        current = dict(self._rows(f"{text} GROUP BY product.model"))
        counts = [ModelCount(ModelVersion.parse(model), int(number), current.get(model, 0)) for model, number in held]
        return sorted(counts, key=lambda entry: entry.model)

    def changes(self, after: int, limit: int) -> list[Change]:
        """List at most `limit` products recorded after a change, in the order in which they became visible.

        A product is listed at its latest change only; publishing the same content again is not a change. Superseded
        processings are included. A promotion does not change products: see `promotions`.
        """
        rows = self._rows(
            f"SELECT change, key, {self._columns()} FROM product WHERE change > :after ORDER BY change LIMIT :limit",
            {"after": after, "limit": limit},
        )
        products = self._products([row[2:] for row in rows])
        return [Change(row[0], product) for row, product in zip(rows, products, strict=True)]

    def latest_change(self) -> int:
        """Return the number of the latest change; 0 before the first."""
        return int(self._rows("SELECT number FROM latest_change")[0][0])

    def folders(self) -> frozenset[str]:
        """Return the folders of all products, served or not, which the store must keep."""
        return frozenset(row[0] for row in self._rows("SELECT folder FROM product"))

    def names(self, folder: str) -> bool:
        """Tell whether a product, served or not, has this folder in the store."""
        _, model, scene, _ = folder.split("/")
        values = {"model": model, "scene": scene, "folder": folder}
        text = "SELECT 1 FROM product WHERE scene = :scene AND model = :model AND folder = :folder"
        return bool(self._rows(text, values))

    def all_products(self) -> Iterator[Product]:
        """Yield all products of all model versions, served or not, oldest row first."""
        keys = [row[0] for row in self._rows("SELECT key FROM product ORDER BY key")]
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            yield from self._read(keys[first : first + _ROWS_AT_ONCE])

    def record(self, product: Product, *, whole_scene: bool = False) -> None:
        """Show a product to readers, replacing an earlier one of the same name and model, in one transaction.

        Recording an identical product is not a change. A higher baseline supersedes lower ones of the scene by the same
        model version; products of one baseline coexist, because two ground stations may each have delivered a part.

        Args:
            product: the product.
            whole_scene: whether it has every part, so that it supersedes the others of its baseline as well.
        """
        with self.transaction():
            earlier = self.find(product.product_id, product.model)
            if earlier is not None and replace(earlier, current=product.current) == product:
                return
            facts = ", ".join(f"{name} = excluded.{name}" for name in _FACTS[2:])
            values = ", ".join(self._footprint_written if name == "footprint" else f":{name}" for name in _FACTS)
            key = self._rows(
                f"INSERT INTO product ({', '.join(_FACTS)}, change) VALUES ({values}, :change) "
                f"ON CONFLICT (product_id, model) DO UPDATE SET {facts}, change = excluded.change RETURNING key",
                {
                    "product_id": product.product_id,
                    "model": str(product.model),
                    "scene": str(product.scene),
                    "product_type": product.product_type,
                    "sensed_at": self._moment_written(product.sensed_at),
                    "published_at": self._moment_written(product.published_at),
                    "footprint": shapely.to_wkb(product.footprint),
                    "cloud_cover_percent": product.cloud_cover_percent,
                    "class_mask": class_mask(product.class_codes),
                    "folder": product.folder,
                    "change": self._rows("UPDATE latest_change SET number = number + 1 RETURNING number")[0][0],
                },
            )[0][0]
            self._record_extent(key, product)
            if earlier is not None and earlier.scene != product.scene:
                self._choose_best(earlier.scene, product.model)
            self._supersede(key, product, whole_scene)
            if not self._rows("SELECT 1 FROM promotion LIMIT 1"):
                self.promote(product.model, "catalogue", "the first model version that was published")

    def forget(self, product: Product) -> None:
        """Remove a product; an earlier processing of its scene is then served again, if there is one."""
        with self.transaction():
            values = {"product_id": product.product_id, "model": str(product.model)}
            keys = self._rows(
                "DELETE FROM product WHERE product_id = :product_id AND model = :model RETURNING key", values
            )
            for (key,) in keys:
                self._forget_extent(key)
            self._choose_best(product.scene, product.model)

    def promote(self, model: ModelVersion, who: str, why: str = "") -> None:
        """Serve `model` from now on for every scene that it has or will have.

        This writes one row, regardless of the number of products.
        """
        with self.transaction():
            values = {
                "model": str(model),
                "promoted_at": self._moment_written(dt.datetime.now(dt.UTC)),
                "who": who,
                "why": why,
            }
            rank = self._rows(
                "INSERT INTO promotion (model, promoted_at, who, why) VALUES (:model, :promoted_at, :who, :why) "
                "RETURNING number",
                values,
            )[0][0]
            self._rows(
                "INSERT INTO serving (model, rank) VALUES (:model, :rank) "
                "ON CONFLICT (model) DO UPDATE SET rank = excluded.rank",
                {"model": str(model), "rank": rank},
            )

    def promotions(self) -> list[Promotion]:
        """Return all promotions, the latest first."""
        rows = self._rows("SELECT model, promoted_at, who, why FROM promotion ORDER BY number DESC")
        return [Promotion(ModelVersion.parse(model), self._moment_read(at), who, why) for model, at, who, why in rows]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock while the block runs: other writers wait, readers do not. Transactions nest as one."""
        if getattr(self._local, "writing", False):
            yield
            return
        self._begin()
        self._local.writing = True
        try:
            yield
            self._commit()
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._local.writing = False

    def _matching_keys(self, query: ProductQuery) -> list[int]:
        if query.area is not None and query.area.is_empty:
            return []
        source, conditions, values = "product", list[str](), dict[str, Any]()
        if query.area is not None:
            source, conditions, values = self._in_box(query)
        by_name = query.product_ids is not None
        if query.product_ids is not None:
            conditions.append(self._is_among("product_id", "product_ids"))
            # PostgreSQL refuses a zero character in text; no product has one in its name.
            values["product_ids"] = self._array(sorted(name for name in query.product_ids if "\0" not in name))
        else:
            conditions.append("best")
        if query.model is None:
            source = self._served(source)
            conditions.append(_unbeaten(_BETTER_OF_NAME if by_name else _BETTER_OF_SCENE))
        else:
            conditions.append("product.model = :model")
            values["model"] = str(query.model)
        if query.start is not None:
            conditions.append("sensed_at >= :start")
            values["start"] = self._moment_written(query.start)
        if query.end is not None:
            conditions.append("sensed_at <= :end")
            values["end"] = self._moment_written(query.end)
        if query.class_codes:
            conditions.append("class_mask & :class_mask <> 0")
            values["class_mask"] = class_mask(query.class_codes)
        if query.max_cloud_percent is not None:
            conditions.append("cloud_cover_percent <= :max_cloud_percent")
            values["max_cloud_percent"] = query.max_cloud_percent
        if query.after is not None:
            older, later = ("<", ">") if not query.oldest_first else (">", "<")
            conditions.append(
                f"sensed_at {older}= :after_moment AND "
                f"(sensed_at {older} :after_moment OR product_id {later} :after_name)"
            )
            values["after_moment"] = self._moment_written(query.after.sensed_at)
            values["after_name"] = query.after.product_id
        order = "sensed_at, product_id DESC" if query.oldest_first else "sensed_at DESC, product_id"
        text = f"SELECT product.key FROM {source} WHERE {' AND '.join(conditions)} ORDER BY {order}"
        if query.limit is not None and query.area is None:
            text += " LIMIT :limit"
            values["limit"] = query.limit
        return [row[0] for row in self._rows(text, values)]

    def _read(self, keys: Sequence[int], area: BaseGeometry | None = None) -> list[Product]:
        """Read rows by key, in that order; skip a row that was deleted meanwhile or is outside the area."""
        rows = self._rows(
            f"SELECT key, {self._columns()} FROM product WHERE {self._is_among('key', 'keys')}",
            {"keys": self._array(keys)},
        )
        if area is not None:
            there = shapely.intersects(area, shapely.from_wkb([row[1 + _FOOTPRINT] for row in rows]))
            rows = [row for row, inside in zip(rows, there.tolist(), strict=True) if inside]
        found = dict(zip((row[0] for row in rows), self._products([row[1:] for row in rows]), strict=True))
        return [found[key] for key in keys if key in found]

    def _columns(self) -> str:
        names = [self._footprint_read if name == "footprint" else name for name in _FACTS]
        current = (
            f"best AND EXISTS (SELECT 1 FROM serving WHERE serving.model = product.model AND "
            f"{_unbeaten(_BETTER_OF_SCENE)})"
        )
        return ", ".join([*names, current])

    def _products(self, rows: Sequence[tuple[Any, ...]]) -> list[Product]:
        footprints = shapely.from_wkb([row[_FOOTPRINT] for row in rows])
        return [
            Product(
                product_id=product_id,
                scene=_scene(scene),
                model=_model(model),
                product_type=product_type,
                sensed_at=self._moment_read(sensed_at),
                published_at=self._moment_read(published_at),
                footprint=footprint,
                cloud_cover_percent=cloud,
                class_codes=codes_of_mask(mask),
                folder=folder,
                current=bool(current),
            )
            for (
                product_id, model, scene, product_type, sensed_at, published_at, _, cloud, mask, folder, current
            ), footprint in zip(rows, footprints, strict=True)
        ]  # fmt: skip

    def _served(self, source: str = "product") -> str:
        return f"{source} {self._first_then} serving ON serving.model = product.model"

    def _supersede(self, key: int, product: Product, whole_scene: bool) -> None:
        """Mark whether a new row is a best processing of its scene, and unmark the rows that it supersedes."""
        values = {"key": key, "scene": str(product.scene), "model": str(product.model)}
        others = "scene = :scene AND model = :model AND key <> :key"
        ours = f"(SELECT {BASELINE} FROM product WHERE key = :key)"
        beaten = f"EXISTS (SELECT 1 FROM product AS other WHERE {others} AND best AND {BASELINE} > {ours})"
        beats = "<=" if whole_scene else "<"
        self._rows(f"UPDATE product SET best = NOT {beaten} WHERE key = :key", values)
        self._rows(f"UPDATE product SET best = false WHERE {others} AND best AND {BASELINE} {beats} {ours}", values)

    def _choose_best(self, scene: SceneKey, model: ModelVersion) -> None:
        """Mark the highest remaining baseline of a scene as the best."""
        ours = "scene = :scene AND model = :model"
        highest = f"(SELECT max({BASELINE}) FROM product WHERE {ours})"
        self._rows(
            f"UPDATE product SET best = ({BASELINE} = {highest}) WHERE {ours}",
            {"scene": str(scene), "model": str(model)},
        )

    @abstractmethod
    def _rows(self, text: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement with named values (`:name`); return its rows, if any."""

    @abstractmethod
    def _begin(self) -> None:
        """Begin a transaction and wait for the write lock."""

    @abstractmethod
    def _commit(self) -> None:
        """Commit the transaction."""

    @abstractmethod
    def _roll_back(self) -> None:
        """Roll the transaction back; never raises."""

    @abstractmethod
    def _in_box(self, query: ProductQuery) -> tuple[str, list[str], dict[str, Any]]:
        """Return tables, conditions and values that preselect by the bounds of the query's area, and by its times."""

    @abstractmethod
    def _is_among(self, column: str, name: str) -> str:
        """Return the condition that a column is among the values bound as an array."""

    @abstractmethod
    def _array(self, values: Sequence[int] | Sequence[str]) -> Any:
        """Convert several values to one bound value."""

    @abstractmethod
    def _moment_written(self, moment: dt.datetime) -> Any:
        """Convert a time to a bound value."""

    @abstractmethod
    def _moment_read(self, value: Any) -> dt.datetime:
        """Convert a stored time to UTC."""

    @abstractmethod
    def _record_extent(self, key: int, product: Product) -> None:
        """Write the spatial index entry of a row, if the row's own index does not have it."""

    @abstractmethod
    def _forget_extent(self, key: int) -> None:
        """Remove the entry that `_record_extent` wrote."""


def _unbeaten(contest: str) -> str:
    """Return the condition that no row of the contest has a model version promoted later than this row's."""
    # Most rows have the version promoted last, which nothing beats: they skip the comparison.
    return (
        "(serving.rank = (SELECT max(rank) FROM serving) OR NOT EXISTS ("
        "SELECT 1 FROM product AS other, serving AS later "
        f"WHERE {contest} AND later.model = other.model AND later.rank > serving.rank))"
    )
