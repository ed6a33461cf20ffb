"""Publications that are killed, that collide, or that cannot be written."""

import datetime as dt
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.products.catalogue.catalogue import Catalogue, ProductQuery
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.store import product_store
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.products.store.verification import Damage, verify
from tests.product_drafts import make_draft

# One interpreter pays for the imports; each case is a separate child, forked before any thread exists.
CHILDREN = """
import json, os, resource, signal, sys
from pathlib import Path
from earthsignature_assets.errors import StoreUnavailableError
from earthsignature_assets.products import validation
from earthsignature_assets.products.store import folder_storage
from earthsignature_assets.products.store import product_store
from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.draft import Draft

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after(original):
    def wrapped(*arguments, **named):
        original(*arguments, **named)
        die()
    return wrapped

STAGES = {
    "while copying": lambda: setattr(product_store, "multihash_of_sha256", die),
    "before validation": lambda: setattr(validation, "validate_files", die),
    "before the item": lambda: setattr(product_store, "item_bytes", die),
    "while writing to disk": lambda: setattr(folder_storage, "_synchronise", die),
    "before the rename": lambda: setattr(Path, "rename", die),
    "after the rename": lambda: setattr(Path, "rename", die_after(Path.rename)),
    "before the row": lambda: setattr(Catalogue, "record", die),
    "inside the transaction": lambda: setattr(Catalogue, "record", die_after(Catalogue.record)),
}

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except StoreUnavailableError as error:
            print(json.dumps(str(error)), flush=True)
            os._exit(3)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(4)
    return pid

def publish(root, draft, prepare=lambda: None):
    prepare()
    product_store.ProductStore(Path(root)).publish(Draft.load(Path(draft)))

def outcome(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

def become_another_user():
    if os.geteuid() == 0:
        os.setuid(65534)

base, first, second, closed = sys.argv[1:]
outcomes = {name: outcome(child(lambda: publish(f"{base}/{name}", first, kill))) for name, kill in STAGES.items()}
same = [child(lambda: publish(f"{base}/same", first)) for _ in range(5)]
outcomes["same"] = [outcome(pid) for pid in same]
different = [child(lambda: publish(f"{base}/different", draft)) for draft in [first, second] * 3]
outcomes["different"] = [outcome(pid) for pid in different]
outcomes["no room"] = outcome(child(lambda: publish(f"{base}/no room", first, limit_files)))
outcomes["read only"] = outcome(child(lambda: publish(closed, first, become_another_user)))
print(json.dumps(outcomes))
"""
STAGES = [
    "while copying",
    "before validation",
    "before the item",
    "while writing to disk",
    "before the rename",
    "after the rename",
    "before the row",
    "inside the transaction",
]


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> list[Draft]:
    """Two drafts of one product with different content."""
    return [make_draft(tmp_path_factory.mktemp("draft"), seed=seed) for seed in (0, 1)]


def visible(store: ProductStore) -> int:
    if not (store.root / "catalogue.sqlite").exists():
        return 0
    with store.open_catalogue(read_only=True) as catalogue:
        return len(list(catalogue.search(ProductQuery())))


def leftovers(store: ProductStore) -> list[Path]:
    return [*store.root.glob(".staging/*"), *store.root.glob("products/*/*/*")]


def damaged(store: ProductStore) -> list[Damage]:
    with store.open_catalogue(read_only=True) as catalogue:
        return [damage for _, found in verify(store.storage, catalogue) for damage in found]


@dataclass(frozen=True)
class Aftermath:
    """The outcome of the children: stores and exit statuses by case, and their output."""

    base: Path
    closed: Path
    outcomes: dict[str, int | list[int]]
    messages: list[str]


@pytest.fixture(scope="module")
def aftermath(drafts: list[Draft], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    base = tmp_path_factory.mktemp("stores")
    (base / "no room").mkdir()
    ProductStore(base / "no room").open_catalogue().close()
    # Another user must be able to read the draft, but pytest's folders are closed to others.
    opened = Path(tempfile.mkdtemp())
    opened.chmod(0o755)
    shutil.copytree(drafts[0].folder, opened / "draft")
    (opened / "draft").chmod(0o755)
    closed = opened / "store"
    closed.mkdir(mode=0o555)
    run = subprocess.run(
        [sys.executable, "-c", CHILDREN, base, opened / "draft", drafts[1].folder, closed],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *messages, outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    yield Aftermath(base, closed, outcomes, messages)
    closed.chmod(0o755)
    shutil.rmtree(opened)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_publication_shows_nothing_and_is_swept(
    aftermath: Aftermath, drafts: list[Draft], tmp_path: Path, stage: str
) -> None:
    assert aftermath.outcomes[stage] == -signal.SIGKILL
    shutil.copytree(aftermath.base / stage, tmp_path / "store")
    store = ProductStore(tmp_path / "store")
    assert visible(store) == 0
    assert leftovers(store)
    placed = list(store.root.glob("products/*/*/*"))
    store.sweep(dt.timedelta(hours=1))
    assert leftovers(store) == placed, "what a dead publisher staged goes; what is placed and young may be recorded yet"
    store.sweep(dt.timedelta(0))
    assert not leftovers(store)
    published = store.publish(drafts[0])
    assert visible(store) == 1
    assert store.read(published, Asset.LAND_COVER) == drafts[0].path(Asset.LAND_COVER).read_bytes()


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_publication_is_simply_repeated(
    aftermath: Aftermath, drafts: list[Draft], tmp_path: Path, stage: str
) -> None:
    shutil.copytree(aftermath.base / stage, tmp_path / "store")
    store = ProductStore(tmp_path / "store")
    published = store.publish(drafts[0])
    with store.open_catalogue() as catalogue:
        assert list(catalogue.search(ProductQuery())) == [published]
    assert not damaged(store)
    assert not list(store.root.glob(".staging/*")), "the next run removes what a dead one staged"
    store.sweep(dt.timedelta(0))
    assert leftovers(store) == [store.root / published.folder]


def test_publishers_of_one_product_make_one_product(aftermath: Aftermath) -> None:
    assert aftermath.outcomes["same"] == [0] * 5
    store = ProductStore(aftermath.base / "same")
    with store.open_catalogue(read_only=True) as catalogue:
        [product] = catalogue.all_products()
    assert not damaged(store)
    assert leftovers(store) == [store.root / product.folder]


def test_publishers_of_different_content_leave_one_whole_product(aftermath: Aftermath) -> None:
    assert aftermath.outcomes["different"] == [0] * 6
    store = ProductStore(aftermath.base / "different")
    with store.open_catalogue(read_only=True) as catalogue:
        [product] = catalogue.all_products()
    assert not damaged(store)
    store.sweep(dt.timedelta(0))
    assert leftovers(store) == [store.root / product.folder]


def test_a_disk_without_room_is_named(aftermath: Aftermath) -> None:
    assert aftermath.outcomes["no room"] == 3
    [message] = [text for text in aftermath.messages if str(aftermath.base / "no room") in text]
    assert "room" in message.replace(str(aftermath.base / "no room"), "")
    assert visible(ProductStore(aftermath.base / "no room")) == 0


def test_a_read_only_store_is_named(aftermath: Aftermath) -> None:
    assert aftermath.outcomes["read only"] == 3
    [message] = [text for text in aftermath.messages if str(aftermath.closed) in text]
    assert "may" in message
    assert not list(aftermath.closed.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(product_store, "_copied"), (Path, "write_bytes"), (os, "fsync"), (Path, "rename"), (Path, "replace")],
    ids=["copy", "item", "fsync", "rename", "mark"],
)
def test_a_disk_that_fails_at_any_step_is_named_and_leaves_the_old_product(
    drafts: list[Draft], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, code: int
) -> None:
    store = ProductStore(tmp_path / "store")
    old = store.publish(drafts[0])

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(StoreUnavailableError, match=os.strerror(code)) as caught:
        store.publish(drafts[1])
    assert str(store.root) in str(caught.value)
    assert caught.value.retryable
    monkeypatch.undo()
    with store.open_catalogue(read_only=True) as catalogue:
        assert list(catalogue.search(ProductQuery())) == [old]
    assert not damaged(store)
    assert not list(store.root.glob(".staging/*"))


def test_a_folder_swept_before_it_is_recorded_is_placed_again(
    drafts: list[Draft], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ProductStore(tmp_path / "store")
    place = ProductStore._placed
    swept: list[str] = []

    def place_then_sweep(self: ProductStore, draft: Draft, staging: Path, catalogue: Catalogue) -> object:
        placed = place(self, draft, staging, catalogue)
        if not swept:
            swept.extend(self.sweep(dt.timedelta(0)))
        return placed

    monkeypatch.setattr(product_store.ProductStore, "_placed", place_then_sweep)
    published = store.publish(drafts[0])
    assert swept == [published.folder]
    with store.open_catalogue(read_only=True) as catalogue:
        assert list(catalogue.search(ProductQuery())) == [published]
    assert not damaged(store)
