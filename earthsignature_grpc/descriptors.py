"""The wire contract as descriptors: what reflection shows and what requests are checked against.

The set is compiled from `proto/` by `scripts/generate_messages.py`. It lives in a pool of its own, so that a process
which also imports somebody's google-protobuf code for the same files does not clash.
"""

from functools import cache
from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2


@cache
def wire_pool() -> descriptor_pool.DescriptorPool:
    """Descriptors of every message and service that the server answers, health and reflection included."""
    pool = descriptor_pool.DescriptorPool()
    content = resources.files("earthsignature_grpc.messages").joinpath("descriptors.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return pool


@cache
def wire_class(full_name: str) -> type[Message]:
    """Google protobuf's own class of a message of the contract, such as `geobufproto.Data`.

    Raises:
        KeyError: the contract has no such message.
    """
    return message_factory.GetMessageClass(wire_pool().FindMessageTypeByName(full_name))
