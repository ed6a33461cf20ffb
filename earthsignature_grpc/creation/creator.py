"""The server's side of creation: starts the process that creates a product, and reads its outcome."""

import asyncio
import json
import logging
import pickle
import sys
import tempfile
from typing import Any

from earthsignature_assets.errors import (
    AlreadyExistsError,
    BusyError,
    EarthSignatureError,
    QueryError,
    StoreUnavailableError,
)
from earthsignature_assets.products.store.product_store import ProductStore

log = logging.getLogger("earthsignature_grpc")

_WAITING = 4
_AT_MOST_S = 900.0


class ProductCreator:
    """Creator of products, one at a time, each in a separate process next to the calls that read."""

    def __init__(self, store: ProductStore) -> None:
        self._store = store
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def create(self, version: str, request: bytes, writer: str) -> str:
        """Publish the product of a CreateProduct request of `v1` or `v2`, and return its name.

        Cancelling the call kills its process; unless the product was published by then, nothing of it remains.

        Raises:
            QueryError: the request does not hold a product that can be published.
            AlreadyExistsError: the store has the product already.
            StoreUnavailableError: the store cannot be written.
            BusyError: several products are being created already.
        """
        if self._waiting >= _WAITING:
            raise BusyError(f"{_WAITING} products are being created; send this one again later", retry_after_s=30.0)
        self._waiting += 1
        try:
            async with self._turn:
                outcome = await self._outcome(version, request)
        finally:
            self._waiting -= 1
        if "product_id" not in outcome:
            raise _error_of(outcome)
        log.info("%s created %s through %s", writer, outcome["product_id"], version)
        return str(outcome["product_id"])

    async def _outcome(self, version: str, request: bytes) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="earthsignature-create-") as folder:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "earthsignature_grpc.creation",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(_AT_MOST_S):
                    answer, errors = await process.communicate(pickle.dumps((version, self._store, request, folder)))
            except TimeoutError:
                answer, errors = b"", b"out of time"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        try:
            outcome: dict[str, Any] = json.loads(answer)
        except ValueError:
            log.error(
                "creating a product ended with %s: %s", process.returncode, errors.decode(errors="replace")[-4000:]
            )
            message = "cannot be read: it crashed the process that tried; check that its rasters open elsewhere"
            return {"error": "QueryError", "field": "product", "message": message}
        return outcome


def _error_of(outcome: dict[str, Any]) -> EarthSignatureError:
    match outcome["error"]:
        case "QueryError":
            return QueryError(outcome["field"], outcome["message"])
        case "AlreadyExistsError":
            return AlreadyExistsError(outcome["message"])
        case _:
            return StoreUnavailableError(outcome["message"])
