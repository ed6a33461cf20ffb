"""Extras of the installation: find the one that a missing module belongs to."""

from importlib.util import find_spec

from earthsignature_assets.errors import MissingExtraError

_EXTRA_OF_MODULE = {
    **dict.fromkeys(("numba", "cv2", "obstore", "psycopg", "pystac", "rustac"), "service"),
    **dict.fromkeys(
        ("dagster", "dagster_postgres", "sqlalchemy", "pystac_client", "antimeridian", "zarr", "onnxruntime"),
        "platform",
    ),
    **dict.fromkeys(("requests", "urllib3", "tritonclient"), "platform"),
    **dict.fromkeys(("celery", "dagster_celery"), "celery"),
    **dict.fromkeys(("dagster_k8s", "kubernetes"), "kubernetes"),
    **dict.fromkeys(("torch", "onnxscript", "matplotlib"), "train"),
    "onnx": "quantise",
    "ukis_csmask": "cloud",
}


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error that names the extra of a missing module; None if no extra has it."""
    extra = _EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
    return MissingExtraError(extra) if extra else None


def require_service() -> None:
    """Check that the extra `service` is installed.

    Raises:
        MissingExtraError: numba, which many calls of the service need, cannot be imported.
    """
    if find_spec("numba") is None:
        raise MissingExtraError("service")


def require_platform() -> None:
    """Check that the extra `platform` is installed.

    Raises:
        MissingExtraError: Dagster cannot be imported.
    """
    if find_spec("dagster") is None:
        raise MissingExtraError("platform")
