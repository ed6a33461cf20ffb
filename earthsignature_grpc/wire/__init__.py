"""The wire format: descriptors, strict decoding, and geobuf."""
