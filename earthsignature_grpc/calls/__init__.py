"""Calls: admission, limits, and errors as gRPC statuses."""
