"""The gRPC service of EarthSignature, for clients old and new, and its Python clients."""
