"""The slots at the provider, which limit how many steps read its imagery at once.

Dagster's pool `stac_provider` limits whole runs. A run of the pool `inference` reads from the provider too, if
retention removed its patches. So every step takes a slot here before it reads; there are as many slots as the pool has.
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
    """Hold one of the provider's slots while the block runs; wait until one is free.

    A slot is a lock on a file: it holds across processes and machines that share the folder, and the system releases it
    when the process ends. A change of the pool's limit in the UI takes effect while a step waits.

    Args:
        context: context of the step; its instance has the pool's limit.
        folder: folder of the locks, created if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reported = False
    while (limit := slots(context.instance)) is not None:
        for number in range(limit):
            with locked_if_free(folder / f".provider-{number}") as held:
                if held:
                    yield
                    return
        if not reported:
            context.log.info("all %d slots of the pool %s are taken: waiting for one", limit, PROVIDER_POOL)
            reported = True
        time.sleep(_POLL_S * random.uniform(0.5, 1.0))  # noqa: S311 - so that waiting steps do not poll in step
    yield


def slots(instance: dg.DagsterInstance) -> int | None:
    """Return the limit of the pool, or else the default limit of pools; None if `dagster.yaml` sets neither."""
    for pool in instance.event_log_storage.get_pool_limits():
        if pool.name == PROVIDER_POOL:
            return pool.limit
    return instance.get_concurrency_config().pool_config.default_pool_limit
