"""The statuses of calls as errors of the project."""

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from earthsignature_assets.errors import (
    AlreadyExistsError,
    CredentialError,
    EarthSignatureError,
    NoSuchProductError,
    QueryError,
    ServiceAnswerError,
    ServiceUnavailableError,
    SupersededError,
)

# A call that reaches a server or proxy while it closes ends as CANCELLED.
_TRY_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
_NOT_IN_TIME = grpc.StatusCode.DEADLINE_EXCEEDED
# gRPC refuses a message above the limit of either side with this text; a retry would fail again.
_TOO_LARGE = "larger than max"


def fault_of(error: grpc.RpcError, target: str) -> EarthSignatureError:
    """Convert the error of a failed call, from a channel for threads or asyncio, to an error of the project.

    Args:
        error: the error that the call raised.
        target: the service, for the message.
    """
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return ServiceUnavailableError(f"{target}: {error}; retry later")
    code, message = error.code(), error.details() or "no message"
    status = _rich_status(error)
    violation, retry_info = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    retry_after_s = None
    for packed in status.details:
        if packed.Unpack(violation) and violation.field_violations:
            return QueryError(violation.field_violations[0].field, violation.field_violations[0].description)
        if packed.Unpack(retry_info):
            retry_after_s = retry_info.retry_delay.ToTimedelta().total_seconds()
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return CredentialError(message)
    if code in _TRY_AGAIN and _TOO_LARGE not in message:
        return ServiceUnavailableError(f"{target}: {message} ({code.name}); retry later", retry_after_s)
    if code is grpc.StatusCode.NOT_FOUND:
        return NoSuchProductError(message)
    if code is grpc.StatusCode.ALREADY_EXISTS:
        return AlreadyExistsError(message)
    if code is grpc.StatusCode.ABORTED:
        return SupersededError(message)
    if code is _NOT_IN_TIME:
        return ServiceUnavailableError(f"{target}: timed out ({code.name}); retry later, or with a larger timeout_s")
    return ServiceAnswerError(f"{target}: {message} ({code.name})")


def _rich_status(error: "grpc.Call | grpc.aio.AioRpcError") -> status_pb2.Status:
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it only reads what both have
    except (ValueError, TypeError):  # the details are malformed or contradict the status
        status = None
    return status or status_pb2.Status()
