"""The one table of project errors and their gRPC statuses, with details that client code can read."""

import datetime as dt
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from earthsignature_assets.errors import (
    AlreadyExistsError,
    BusyError,
    CredentialError,
    EarthSignatureError,
    NoSuchProductError,
    OversizeError,
    ProductError,
    QueryError,
    RoleError,
    ServiceUnavailableError,
    StoreUnavailableError,
    SupersededError,
)

RETRY_AFTER_S = 5
"""Delay before a client may retry while the store is unavailable."""

_DETAILS_KEY = "grpc-status-details-bin"

_STATUSES: tuple[tuple[type[EarthSignatureError], grpc.StatusCode], ...] = (
    (QueryError, grpc.StatusCode.INVALID_ARGUMENT),
    (CredentialError, grpc.StatusCode.UNAUTHENTICATED),
    (RoleError, grpc.StatusCode.PERMISSION_DENIED),
    (AlreadyExistsError, grpc.StatusCode.ALREADY_EXISTS),
    (BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (OversizeError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoreUnavailableError, grpc.StatusCode.UNAVAILABLE),
    (ServiceUnavailableError, grpc.StatusCode.UNAVAILABLE),
    (ProductError, grpc.StatusCode.DATA_LOSS),
    (NoSuchProductError, grpc.StatusCode.NOT_FOUND),
    (SupersededError, grpc.StatusCode.ABORTED),
)


@dataclass(frozen=True)
class Refusal:
    """The end of a refused call: status, message, and rich details as trailing metadata."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def refusal_of(error: EarthSignatureError) -> Refusal:
    """Map an error to its refusal, with `google.rpc.BadRequest` for a field and `RetryInfo` if a retry can help."""
    code = next((code for kind, code in _STATUSES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    details: list[Message] = []
    # The store's messages name paths on the server: they belong in the log, not in a client's error.
    message = str(error)
    if isinstance(error, QueryError):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.remedy)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    elif isinstance(error, StoreUnavailableError):
        message = f"the product store is not available; try again in {RETRY_AFTER_S} s"
        details.append(_retry_info(RETRY_AFTER_S))
    elif isinstance(error, BusyError | ServiceUnavailableError):
        details.append(_retry_info(error.retry_after_s or RETRY_AFTER_S))
    elif code is grpc.StatusCode.DATA_LOSS:
        message = "a file of the product is missing or damaged; ask the operator to publish the product again"
    elif code is grpc.StatusCode.INTERNAL:
        return internal_refusal()
    return _refusal(code, message, details)


def _retry_info(delay_s: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromTimedelta(dt.timedelta(seconds=delay_s))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def internal_refusal() -> Refusal:
    """Make the refusal for a fault of the service itself; only the log has the cause."""
    return _refusal(grpc.StatusCode.INTERNAL, "the service failed; the cause is in its log", [])


def unimplemented_refusal(remedy: str) -> Refusal:
    """Make the refusal of a method that is declared but not served."""
    return _refusal(grpc.StatusCode.UNIMPLEMENTED, remedy, [])


def _refusal(code: grpc.StatusCode, message: str, details: list[Message]) -> Refusal:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    metadata = ((_DETAILS_KEY, status.SerializeToString()),) if details else ()
    return Refusal(code, message, metadata)
