"""Server reflection under both of its names: clients of 2022 call v1alpha, those of today v1."""

from collections.abc import Iterable

import grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from earthsignature_grpc.wire.descriptors import wire_pool

V1ALPHA = reflection.SERVICE_NAME
V1 = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Let clients list a server's services and read their descriptors.

    The messages of v1 and v1alpha differ only in the package's name, so one servicer answers both.
    """
    servicer = reflection.aio.ReflectionServicer((*services, V1, V1ALPHA), pool=wire_pool())
    methods = {
        "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=ServerReflectionRequest.FromString,
            response_serializer=ServerReflectionResponse.SerializeToString,
        )
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods) for name in (V1, V1ALPHA)])
