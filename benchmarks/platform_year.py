"""A year of Europe in a Dagster instance: the records of a platform that has run for a year.

36,500 scenes, a hundred a day, with partitions for the last 90 days and three model versions. Each scene has patches
and a product of each version, except on the newest day, which is still to do. The instance holds planned and finished
materialisations of `patches` and `land_cover_product` with their tags, and a finished run of each. Dagster writes one
record of each kind, and the database copies it.
"""

import datetime as dt
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.postgres_server import postgres_server
from benchmarks.row import Options

if TYPE_CHECKING:
    import dagster as dg
    from sqlalchemy import Connection

    from earthsignature_assets.keys import SceneKey

SCENES_A_DAY = 100
DAYS = 365
WINDOW_DAYS = 90
MODELS = ("corine-unet-v1", "corine-unet-v2", "corine-unet-v3")
_ROOT = Path(__file__).resolve().parents[1]


def scenes_of_the_year() -> "list[SceneKey]":
    """Return the scenes of a year until yesterday, oldest first."""
    from earthsignature_assets.keys import SceneKey

    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=DAYS)
    tiles = [f"{zone}T{column}{row}" for zone in (31, 32, 33, 34) for column in "QPNML" for row in "MNPQR"]
    return [
        SceneKey(first + dt.timedelta(days=day), 1 + (day * 7) % 143, tile)
        for day in range(DAYS)
        for tile in tiles[:SCENES_A_DAY]
    ]


def prepare_year(options: Options) -> None:
    """Create a home whose instance holds the year in SQLite; a home of today is kept."""
    home = _sqlite_home(options)
    if not home.exists():
        partial = home.with_name(f"{home.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with _instance(partial) as instance:
            _remember(instance)
        partial.rename(home)


@contextmanager
def year_in_sqlite(options: Options) -> Iterator[Path]:
    """Return the home of `prepare_year`."""
    home = _sqlite_home(options)
    with _environment(home):
        yield home


@contextmanager
def year_in_postgres(options: Options) -> Iterator[Path]:
    """Create a home whose instance holds the same in a temporary PostgreSQL."""
    home = (options.folder / f"platform-postgres-{uuid.uuid4().hex}").resolve()
    try:
        (home / "dagster").mkdir(parents=True)
        shutil.copyfile(_ROOT / "deploy" / "dagster-postgres.yaml", home / "dagster" / "dagster.yaml")
        with postgres_server() as url:
            driver = url.replace("postgresql:", "postgresql+psycopg2:")
            with _environment(home, DAGSTER_POSTGRES_URL=driver):
                with _instance(home) as instance:
                    _remember(instance)
                yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _sqlite_home(options: Options) -> Path:
    return (options.folder / f"platform-{dt.datetime.now(dt.UTC):%Y%m%d}").resolve()


@contextmanager
def _environment(home: Path, **variables: str) -> Iterator[None]:
    """Set the environment of the instance and of the platform's processes."""
    before = dict(os.environ)
    os.environ |= {"DAGSTER_HOME": str(home / "dagster"), "EARTHSIGNATURE_HOME": str(home)} | variables
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


@contextmanager
def _instance(home: Path) -> "Iterator[dg.DagsterInstance]":
    from earthsignature_assets.cli.chain import open_instance

    with open_instance(home) as instance:
        yield instance


def _remember(instance: "dg.DagsterInstance") -> None:
    from earthsignature_assets.automation.jobs import land_cover_job, patches_job

    year = scenes_of_the_year()
    instance.add_dynamic_partitions("model_version", list(MODELS))
    instance.add_dynamic_partitions("scene", [str(scene) for scene in year[-SCENES_A_DAY * WINDOW_DAYS :]])
    _record(instance, "patches", patches_job.name, ({"scene": str(scene)} for scene in year))
    products = ({"model_version": model, "scene": str(scene)} for scene in year[:-SCENES_A_DAY] for model in MODELS)
    _record(instance, "land_cover_product", land_cover_job.name, products)


def _record(instance: "dg.DagsterInstance", asset: str, job: str, partitions: Iterable[Mapping[str, str]]) -> None:
    """Record the run of one partition by Dagster, and copy it for the others."""
    import dagster as dg
    from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, DagsterEventType

    dimensions, *others = partitions
    key, run_id = "|".join(dimensions.values()), str(uuid.uuid4())
    tags = {f"dagster/partition/{name}": part for name, part in dimensions.items()} if len(dimensions) > 1 else {}
    run_tags = tags | {"dagster/partition": key, "dagster/sensor_name": "accepted_scenes", "dagster/run_key": key}
    run = dg.DagsterRun(job_name=job, run_id=run_id, status=dg.DagsterRunStatus.SUCCESS, tags=run_tags)
    instance.add_run(run)
    planned = DagsterEvent(
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value,
        job,
        event_specific_data=AssetMaterializationPlannedData(dg.AssetKey(asset), partition=key),
    )
    instance.report_dagster_event(planned, run_id)
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key, tags=tags))
    copies = [
        {
            "partition": "|".join(parts.values()),
            "run_id": str(uuid.uuid4()),
            "scene": parts["scene"],
            "model_version": parts.get("model_version"),
        }
        for parts in others
    ]
    events: Any = instance.event_log_storage
    with events.index_connection() as connection:
        _copy_events(connection, asset, key, run_id, copies)
    runs: Any = instance.run_storage
    with runs.connect() as connection:
        _copy_runs(connection, run_id, key, copies)


def _copy_events(
    connection: "Connection", asset: str, key: str, run_id: str, copies: list[dict[str, str | None]]
) -> None:
    from sqlalchemy import text

    with _copies_table(connection, copies):
        for kind in ("ASSET_MATERIALIZATION_PLANNED", "ASSET_MATERIALIZATION"):
            connection.execute(
                text(
                    "INSERT INTO event_logs"
                    " (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)"
                    " SELECT c.run_id, replace(replace(e.event, :key, c.partition), :run, c.run_id),"
                    " e.dagster_event_type, e.timestamp, e.step_key, e.asset_key, c.partition"
                    " FROM event_logs e CROSS JOIN copies c"
                    " WHERE e.asset_key = :asset AND e.partition = :key AND e.dagster_event_type = :kind"
                ),
                {"key": key, "run": run_id, "asset": f'["{asset}"]', "kind": kind},
            )
        for dimension in ("scene", "model_version") if "|" in key else ():
            connection.execute(
                text(
                    "INSERT INTO asset_event_tags (event_id, asset_key, key, value, event_timestamp)"
                    f" SELECT e.id, e.asset_key, 'dagster/partition/{dimension}', c.{dimension}, e.timestamp"
                    " FROM event_logs e JOIN copies c ON c.run_id = e.run_id"
                    " WHERE e.asset_key = :asset AND e.dagster_event_type = 'ASSET_MATERIALIZATION'"
                ),
                {"asset": f'["{asset}"]'},
            )


def _copy_runs(connection: "Connection", run_id: str, key: str, copies: list[dict[str, str | None]]) -> None:
    from sqlalchemy import text

    scene = key.rpartition("|")[2]
    with _copies_table(connection, copies):
        connection.execute(
            text(
                "INSERT INTO runs (run_id, pipeline_name, mode, status, run_body, partition, start_time, end_time)"
                " SELECT c.run_id, r.pipeline_name, r.mode, r.status,"
                " replace(replace(r.run_body, :key, c.partition), :run, c.run_id), c.partition, 0, 30"
                " FROM runs r CROSS JOIN copies c WHERE r.run_id = :run"
            ),
            {"key": key, "run": run_id},
        )
        connection.execute(
            text(
                "INSERT INTO run_tags (run_id, key, value)"
                " SELECT c.run_id, t.key, replace(replace(t.value, :key, c.partition), :scene, c.scene)"
                " FROM run_tags t CROSS JOIN copies c WHERE t.run_id = :run"
            ),
            {"key": key, "run": run_id, "scene": scene},
        )


@contextmanager
def _copies_table(connection: "Connection", copies: list[dict[str, str | None]]) -> Iterator[None]:
    from sqlalchemy import text

    connection.execute(
        text("CREATE TEMPORARY TABLE copies (partition TEXT, run_id TEXT, scene TEXT, model_version TEXT)")
    )
    insert = text("INSERT INTO copies VALUES (:partition, :run_id, :scene, :model_version)")
    connection.execute(insert, copies)
    connection.execute(text("CREATE INDEX copies_by_run ON copies (run_id)"))
    yield
    connection.execute(text("DROP TABLE copies"))
    connection.execute(text("ANALYZE"))
