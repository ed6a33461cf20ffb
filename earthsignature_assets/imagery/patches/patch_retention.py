"""Retention of transient folders: select by age and by a disk budget, and remove.

A patch store takes about 1.7 GB, and a day has about a hundred scenes: expired stores are removed, oldest first, and
materialising `patches` fetches a scene again. A folder written to within the last hour is never removed, not even an
unfinished one (`.partial`): its writer may still be running.
"""

import datetime as dt
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from earthsignature_assets.errors import InvalidKeyError, StoreUnavailableError
from earthsignature_assets.system.atomic import partial_path

QUIET = dt.timedelta(hours=1)
"""Time since the last write after which a folder may be removed."""


@dataclass(frozen=True)
class RetentionPolicy:
    """Limits on the age of patches and on their disk space.

    Attributes:
        max_age_days: days since the last write after which a store is removed.
        budget_gb: gigabytes (10⁹ bytes) that all stores together may take.

    Raises:
        InvalidKeyError: a number is negative or NaN.
    """

    max_age_days: float
    budget_gb: float

    def __post_init__(self) -> None:
        for name in ("max_age_days", "budget_gb"):
            value = getattr(self, name)
            if not value >= 0:
                raise InvalidKeyError(f"retention of patches: {name} is {value}, give a number of at least 0")


@dataclass(frozen=True)
class TransientFolder:
    """A transient folder: its path, the time of its last write (UTC), and its size."""

    path: Path
    written_at: dt.datetime
    size_bytes: int

    def quiet(self, now: dt.datetime) -> bool:
        """Tell whether the folder has not been written to for an hour."""
        return now - self.written_at >= QUIET


def stored_folders(paths: Iterable[Path]) -> list[TransientFolder]:
    """Measure folders; one that disappears meanwhile is left out.

    Raises:
        StoreUnavailableError: a folder cannot be read.
    """
    return [folder for path in paths if (folder := _measured(path)) is not None]


def past_their_time(
    stores: Iterable[TransientFolder], policy: RetentionPolicy, now: dt.datetime
) -> list[TransientFolder]:
    """Return the stores to remove, oldest first: those past the age, then more until the rest is within the budget.

    Stores that are not quiet count towards the budget but are never returned.
    """
    stores = sorted(stores, key=lambda store: (store.written_at, store.path))
    total_bytes = sum(store.size_bytes for store in stores)
    oldest = now - dt.timedelta(days=policy.max_age_days)
    removed = []
    for store in stores:
        if store.quiet(now) and (store.written_at < oldest or total_bytes > policy.budget_gb * 1e9):
            removed.append(store)
            total_bytes -= store.size_bytes
    return removed


def remove_folder(folder: TransientFolder) -> None:
    """Remove a folder; rename it first, so that nobody opens a half-removed one.

    Raises:
        StoreUnavailableError: it cannot be renamed or removed.
    """
    going = partial_path(folder.path)
    try:
        folder.path.replace(going)
        shutil.rmtree(going)
    except OSError as error:
        raise StoreUnavailableError(
            f"{folder.path} cannot be removed: {error}; check who owns it and whether the disk can be written"
        ) from error


def _measured(path: Path) -> TransientFolder | None:
    try:
        facts = [entry.stat() for entry in (path, *path.rglob("*"))]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailableError(f"{path} cannot be read: {error}; check who owns it") from error
    written_at = dt.datetime.fromtimestamp(max(fact.st_mtime for fact in facts), dt.UTC)
    return TransientFolder(path, written_at, sum(fact.st_size for fact in facts))
