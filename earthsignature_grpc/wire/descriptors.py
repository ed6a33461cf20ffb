"""The wire contract as descriptors, for reflection and for checking requests.

`scripts/generate_messages.py` compiles the set from `proto/`. It lives in a separate pool, so that a process can also
import google-protobuf code generated from the same files.
"""

from functools import cache
from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, text_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

V1 = "snapearth.api.v1.DatabaseProductService"
V2 = "snapearth.api.v2.DatabaseProductService"
LEGACY = "snapearth.api.v1.database.DatabaseProductService"
V3 = "earthsignature.v3.LandCoverService"
SERVICES = (V1, V2, LEGACY, V3)
"""Full names of the services in the contract; `LEGACY` is the older name of version 1."""


@cache
def wire_pool() -> descriptor_pool.DescriptorPool:
    """Load the descriptors of the contract, health, reflection and error details."""
    pool = descriptor_pool.DescriptorPool()
    content = resources.files("earthsignature_grpc.messages").joinpath("descriptors.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    # With the last two, a client that uses reflection shows error details as text instead of bytes.
    for module in (health_pb2, reflection_pb2, duration_pb2, error_details_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_as_reflection_v1(reflection_pb2.DESCRIPTOR.serialized_pb))
    return pool


def _as_reflection_v1(alpha: bytes) -> bytes:
    """Rename the package of the v1alpha file to get `grpc.reflection.v1`, as gRPC itself did."""
    file = descriptor_pb2.FileDescriptorProto.FromString(alpha)
    text = text_format.MessageToString(file).replace("v1alpha", "v1")
    return text_format.Parse(text, descriptor_pb2.FileDescriptorProto()).SerializeToString()


@cache
def wire_class(full_name: str) -> type[Message]:
    """Return the google-protobuf class of a message in the contract, such as `geobufproto.Data`.

    Raises:
        KeyError: the contract has no such message.
    """
    return message_factory.GetMessageClass(wire_pool().FindMessageTypeByName(full_name))
