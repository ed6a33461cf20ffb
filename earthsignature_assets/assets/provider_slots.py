"""The places at the provider: how many steps may read its imagery at once, whatever pool their runs count to.

Dagster's pool `stac_provider` holds back whole runs, and a run whose patches retention removed reads from the provider
as well, though it counts to the pool `inference`. So whoever reads takes a place here first; there are as many as the
pool has.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from earthsignature_assets.system.locks import locked_if_free

PROVIDER_POOL = "stac_provider"
_POLL_S = 2.0


@contextmanager
def provider_slot(context: dg.AssetExecutionContext, folder: Path) -> Iterator[None]:
    """Hold one of the provider's places while the block runs; wait until one is free.

    A place is a lock on a file, so it holds across processes and machines that share the folder, and is free again when
    its process ends in whatever way. The pool's limit is read anew while it waits: it can be changed in the UI.

    Args:
        context: of the step; its instance knows the pool's limit.
        folder: where the locks are; made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while (limit := places(context.instance)) is not None:
        for number in range(limit):
            with locked_if_free(folder / f".provider-{number}") as held:
                if held:
                    yield
                    return
        if not told:
            context.log.info("all %d places of the pool %s are taken: waiting for one", limit, PROVIDER_POOL)
            told = True
        time.sleep(_POLL_S * random.uniform(0.5, 1.0))  # noqa: S311 - so that those who wait do not ask in step
    yield


def places(instance: dg.DagsterInstance) -> int | None:
    """How many places the pool has: its own limit, or else every pool's; None where `dagster.yaml` sets none."""
    for pool in instance.event_log_storage.get_pool_limits():
        if pool.name == PROVIDER_POOL:
            return pool.limit
    return instance.get_concurrency_config().pool_config.default_pool_limit
