"""Admission of calls, limits, and errors as gRPC statuses."""
