"""Publications to S3 that are killed, that collide, or whose server fails: real processes, a real S3 server."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from earthsignature_assets.errors import InvalidKeyError, StoreUnavailableError
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_assets.products.draft import Draft
from earthsignature_assets.products.product import Asset
from earthsignature_assets.products.store import s3_storage
from earthsignature_assets.products.store.product_store import ProductStore
from earthsignature_assets.products.store.s3_storage import S3Storage
from earthsignature_assets.products.store.verification import verify
from tests.product_drafts import make_draft

# Each case is a separate child, forked before any thread exists.
CHILDREN = """
import json, os, signal, sys
import obstore
from pathlib import Path
from earthsignature_assets.products import validation
from earthsignature_assets.products.store import product_store
from earthsignature_assets.products.catalogue.catalogue import Catalogue
from earthsignature_assets.products.draft import Draft

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def die_at_object(name, after):
    put = obstore.put
    def wrapped(store, path, *arguments, **named):
        if after:
            put(store, path, *arguments, **named)
        if path.endswith(name):
            die()
        if not after:
            put(store, path, *arguments, **named)
    obstore.put = wrapped

def die_after(original):
    def wrapped(*arguments, **named):
        original(*arguments, **named)
        die()
    return wrapped

STAGES = {
    "while copying": lambda: setattr(product_store, "multihash_of_sha256", die),
    "before validation": lambda: setattr(validation, "validate_files", die),
    "before the first object": lambda: setattr(obstore, "put", die),
    "between two objects": lambda: die_at_object("land_cover.tif", after=True),
    "before the item": lambda: die_at_object("item.json", after=False),
    "after the item": lambda: die_at_object("item.json", after=True),
    "before the row": lambda: setattr(Catalogue, "record", die),
    "inside the transaction": lambda: setattr(Catalogue, "record", die_after(Catalogue.record)),
}

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(4)
    return pid

def publish(location, catalogue, draft, prepare=lambda: None):
    prepare()
    product_store.ProductStore(location, catalogue).publish(Draft.load(Path(draft)))

def outcome(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

kind, location, catalogue, *drafts = sys.argv[1:]
if kind == "several":
    pids = [child(lambda: publish(location, catalogue, draft)) for draft in drafts * (3 - len(drafts) + 1)]
    print(json.dumps([outcome(pid) for pid in pids]))
else:
    print(json.dumps(outcome(child(lambda: publish(location, catalogue, drafts[0], STAGES[kind])))))
"""
STAGES = [
    "while copying",
    "before validation",
    "before the first object",
    "between two objects",
    "before the item",
    "after the item",
    "before the row",
    "inside the transaction",
]
MakeBucket = Callable[[], str]


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> list[Draft]:
    """Two drafts of one product with different content."""
    return [make_draft(tmp_path_factory.mktemp("draft"), seed=seed) for seed in (0, 1)]


@pytest.fixture(params=["sqlite", "postgis"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The places for the catalogue of a store on S3."""
    if request.param == "postgis":
        return str(request.getfixturevalue("new_postgis_schema")())
    return str(tmp_path / "catalogue.sqlite")


def in_children(kind: str, location: str, catalogue: str, *drafts: Draft) -> int | list[int]:
    command = [sys.executable, "-c", CHILDREN, kind, location, catalogue, *(str(draft.folder) for draft in drafts)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    outcomes: int | list[int] = json.loads(run.stdout.splitlines()[-1])
    assert outcomes != 4, run.stderr
    return outcomes


def visible(store: ProductStore) -> list[str]:
    with store.open_catalogue() as catalogue:
        return [product.folder for product in catalogue.search(ProductQuery())]


def damaged(store: ProductStore) -> list[object]:
    with store.open_catalogue(read_only=True) as catalogue:
        return [damage for _, found in verify(store.storage, catalogue) for damage in found]


@pytest.mark.services
@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_publication_shows_nothing_and_is_repeated(
    drafts: list[Draft], new_bucket: MakeBucket, tmp_path: Path, stage: str
) -> None:
    store = ProductStore(new_bucket(), tmp_path / "catalogue.sqlite")
    assert in_children(stage, str(store), str(tmp_path / "catalogue.sqlite"), drafts[0]) == -signal.SIGKILL
    assert visible(store) == []
    published = store.publish(drafts[0])
    assert visible(store) == [published.folder]
    assert not damaged(store)
    assert [folder.name for folder in store.storage.folders("products", 3)] == [published.folder]
    assert not list(store.storage.staging_root.iterdir()), "the next run removes what a dead one staged"


@pytest.mark.services
@pytest.mark.parametrize("stage", STAGES)
def test_the_rest_of_a_killed_publication_is_swept(
    drafts: list[Draft], new_bucket: MakeBucket, tmp_path: Path, stage: str
) -> None:
    store = ProductStore(new_bucket(), tmp_path / "catalogue.sqlite")
    in_children(stage, str(store), str(tmp_path / "catalogue.sqlite"), drafts[0])
    assert store.sweep(dt.timedelta(hours=1)) == [], "what is placed and young may be recorded yet"
    assert len(store.sweep(dt.timedelta(0))) == (stage not in STAGES[:3])
    assert not list(store.storage.folders("products", 3))
    assert not list(store.storage.staging_root.iterdir())


@pytest.mark.services
def test_publishers_of_one_product_make_one_product(
    drafts: list[Draft], new_bucket: MakeBucket, catalogue: str
) -> None:
    store = ProductStore(new_bucket(), catalogue)
    assert in_children("several", str(store), catalogue, drafts[0]) == [0] * 3
    assert len(visible(store)) == 1
    assert not damaged(store)
    assert [folder.name for folder in store.storage.folders("products", 3)] == visible(store)


@pytest.mark.services
def test_publishers_of_different_content_leave_one_whole_product(
    drafts: list[Draft], new_bucket: MakeBucket, catalogue: str
) -> None:
    store = ProductStore(new_bucket(), catalogue)
    assert in_children("several", str(store), catalogue, *drafts) == [0] * 4
    assert len(visible(store)) == 1
    assert not damaged(store)
    store.sweep(dt.timedelta(0))
    assert [folder.name for folder in store.storage.folders("products", 3)] == visible(store)


@pytest.mark.services
def test_readers_always_find_the_product_while_it_is_superseded(
    drafts: list[Draft], new_bucket: MakeBucket, catalogue: str
) -> None:
    store = ProductStore(new_bucket(), catalogue)
    store.publish(drafts[0])
    done = threading.Event()
    found: list[int] = []

    def read() -> None:
        with store.open_catalogue(read_only=True) as reader:
            while not done.is_set():
                [product] = reader.search(ProductQuery())
                found.append(len(store.read(product, Asset.GEOBUF)))

    reading = threading.Thread(target=read)
    reading.start()
    try:
        for number in range(6):
            store.publish(drafts[(number + 1) % 2])
    finally:
        done.set()
        reading.join()
    sizes = {draft.path(Asset.GEOBUF).stat().st_size for draft in drafts}
    assert len(found) > 10
    assert set(found) <= sizes


# A server of the test refuses, is busy, or does not respond, unlike a healthy one.
@contextmanager
def failing_server(status: int, times: int, pause_s: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP that answers a number of requests with a status, then 200 with `found`; yield address and requests."""
    requested: list[str] = []
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            requested.append(f"{self.command} {self.path}")
            released.wait(pause_s)
            body = b"<Error><Code>AccessDenied</Code></Error>" if len(requested) <= times else b"found"
            self.send_response(status if len(requested) <= times else 200)
            self.send_header("content-length", str(len(body)))
            self.send_header("etag", '"1"')
            self.send_header("last-modified", "Fri, 01 May 2026 10:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815 - http.server's own names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requested
        finally:
            released.set()
            server.shutdown()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], S3Storage]:
    """Make a storage at an endpoint, with short pauses and timeouts."""
    monkeypatch.setitem(s3_storage._RETRIES, "max_retries", 2)
    backoff = {"init_backoff": dt.timedelta(milliseconds=1), "max_backoff": dt.timedelta(milliseconds=5), "base": 2}
    monkeypatch.setitem(s3_storage._RETRIES, "backoff", backoff)
    monkeypatch.setitem(s3_storage._CLIENT, "timeout", "1s")

    def at(endpoint: str) -> S3Storage:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        return S3Storage("s3://bucket/archive")

    return at


def test_a_busy_server_is_asked_again(hasty: Callable[[str], S3Storage]) -> None:
    with failing_server(503, times=2) as (endpoint, requested):
        assert hasty(endpoint).read("products/x") == b"found"
        assert requested == ["GET /bucket/archive/products/x"] * 3


def test_a_server_that_stays_busy_is_named_and_worth_a_retry(hasty: Callable[[str], S3Storage]) -> None:
    with failing_server(503, times=99) as (endpoint, requested), pytest.raises(StoreUnavailableError) as caught:
        hasty(endpoint).read("products/x")
    assert len(requested) == 3
    assert caught.value.retryable
    assert "s3://bucket/archive" in str(caught.value)
    assert "Debug source" not in str(caught.value)


def test_a_server_that_refuses_is_named_with_the_remedy(hasty: Callable[[str], S3Storage]) -> None:
    with (
        failing_server(403, times=99) as (endpoint, requested),
        pytest.raises(StoreUnavailableError, match="AWS_ACCESS_KEY"),
    ):
        hasty(endpoint).write("products/x", b"1")
    assert len(requested) == 1


def test_a_silent_server_times_out(hasty: Callable[[str], S3Storage]) -> None:
    with (
        failing_server(200, times=0, pause_s=30) as (endpoint, _),
        pytest.raises(StoreUnavailableError, match="does not respond"),
    ):
        hasty(endpoint).read("products/x")


def test_an_unreachable_server_is_named(hasty: Callable[[str], S3Storage], free_port: Callable[[], int]) -> None:
    with pytest.raises(StoreUnavailableError, match="AWS_ENDPOINT_URL"):
        hasty(f"http://127.0.0.1:{free_port()}").sizes("products/x")


def test_a_publication_to_a_server_that_vanishes_fails_and_shows_nothing(
    hasty: Callable[[str], S3Storage], drafts: list[Draft], tmp_path: Path
) -> None:
    with failing_server(500, times=99) as (endpoint, _):
        hasty(endpoint)
        store = ProductStore("s3://bucket/archive", tmp_path / "catalogue.sqlite")
        with pytest.raises(StoreUnavailableError):
            store.publish(drafts[0])
    assert visible(store) == []
    assert not [path for path in store.storage.staging_root.iterdir() if path.is_dir()]


@pytest.mark.services
def test_an_absent_bucket_is_named(new_bucket: MakeBucket, drafts: list[Draft], tmp_path: Path) -> None:
    new_bucket()
    store = ProductStore("s3://nobody-made-it/archive", tmp_path / "catalogue.sqlite")
    with pytest.raises(StoreUnavailableError, match="the bucket does not exist"):
        store.storage.read("products/x")
    with pytest.raises(StoreUnavailableError):
        store.publish(drafts[0])


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://user:pass@bucket", "s3://bucket?x=1", "gs://bucket", "https://x"]
)
def test_places_that_are_none_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidKeyError):
        ProductStore(url, tmp_path / "catalogue.sqlite")


def test_a_store_on_s3_without_a_catalogue_is_refused() -> None:
    with pytest.raises(InvalidKeyError, match="EARTHSIGNATURE_CATALOGUE"):
        ProductStore("s3://bucket/archive")


@pytest.mark.parametrize("catalogue", ["s3://bucket/catalogue.sqlite", "mysql://x", "sqlite://elsewhere/x"])
def test_catalogues_of_other_kinds_are_refused(tmp_path: Path, catalogue: str) -> None:
    with pytest.raises(InvalidKeyError, match="postgresql"):
        ProductStore(tmp_path, catalogue).open_catalogue()


def test_the_s3_server_of_the_tests_keeps_create_only_puts(new_bucket: MakeBucket, tmp_path: Path) -> None:
    storage = S3Storage(new_bucket())
    (tmp_path / "item.json").write_text("first")
    assert storage.place(tmp_path, "products/a/b/c", last="item.json")
    (tmp_path / "item.json").write_text("second")
    assert not storage.place(tmp_path, "products/a/b/c", last="item.json")
    assert storage.read("products/a/b/c/item.json") == b"first"
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1")
