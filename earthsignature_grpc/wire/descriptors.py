"""The wire contract as descriptors: what reflection shows and what requests are checked against.

The set is compiled from `proto/` by `scripts/generate_messages.py`. It lives in a pool of its own, so that a process
which also imports somebody's google-protobuf code for the same files does not clash.
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
"""Full names of the services that the contract declares; `LEGACY` is the older name of version 1."""


@cache
def wire_pool() -> descriptor_pool.DescriptorPool:
    """Descriptors of all that the server speaks: the contract, health, reflection and the details of errors."""
    pool = descriptor_pool.DescriptorPool()
    content = resources.files("earthsignature_grpc.messages").joinpath("descriptors.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    # The last two let a reflecting client show the details of an error instead of their bytes.
    for module in (health_pb2, reflection_pb2, duration_pb2, error_details_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(_as_reflection_v1(reflection_pb2.DESCRIPTOR.serialized_pb))
    return pool


def _as_reflection_v1(alpha: bytes) -> bytes:
    """The file of `grpc.reflection.v1`: that of v1alpha under another package, as gRPC itself made it."""
    file = descriptor_pb2.FileDescriptorProto.FromString(alpha)
    text = text_format.MessageToString(file).replace("v1alpha", "v1")
    return text_format.Parse(text, descriptor_pb2.FileDescriptorProto()).SerializeToString()


@cache
def wire_class(full_name: str) -> type[Message]:
    """Google protobuf's own class of a message of the contract, such as `geobufproto.Data`.

    Raises:
        KeyError: the contract has no such message.
    """
    return message_factory.GetMessageClass(wire_pool().FindMessageTypeByName(full_name))
