"""Extras of the installation: which one carries a module that is missing."""

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
    """Return the error that names the extra of a missing module, or None for a module of no extra."""
    extra = _EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
    return MissingExtraError(extra) if extra else None


def require_service() -> None:
    """Fail before the service starts where the extra `service` is not installed.

    Raises:
        MissingExtraError: numba, which the service needs in many calls, cannot be imported.
    """
    if find_spec("numba") is None:
        raise MissingExtraError("service")


def require_platform() -> None:
    """Fail early and by name where the extra `platform` is not installed.

    Raises:
        MissingExtraError: Dagster cannot be imported.
    """
    if find_spec("dagster") is None:
        raise MissingExtraError("platform")
