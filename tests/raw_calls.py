"""Calls of the service whose requests and answers are plain bytes."""

from typing import overload

import grpc


@overload
def unary_stream(channel: grpc.Channel, method: str) -> "grpc.UnaryStreamMultiCallable[bytes, bytes]": ...
@overload
def unary_stream(channel: grpc.aio.Channel, method: str) -> "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]": ...
def unary_stream(
    channel: grpc.Channel | grpc.aio.Channel, method: str
) -> "grpc.UnaryStreamMultiCallable[bytes, bytes] | grpc.aio.UnaryStreamMultiCallable[bytes, bytes]":
    """Look up a method that answers with a stream."""
    return channel.unary_stream(method)


def unary_unary(channel: grpc.Channel, method: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    """Look up a method that answers once."""
    return channel.unary_unary(method)


def stream_stream(channel: grpc.aio.Channel, method: str) -> "grpc.aio.StreamStreamMultiCallable[bytes, bytes]":
    """Look up a method that takes and answers with a stream."""
    return channel.stream_stream(method)
