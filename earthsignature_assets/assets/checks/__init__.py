"""What must hold of each materialisation, and what should: read back from disk, not from the memory that wrote it."""
