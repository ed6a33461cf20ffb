"""What every room needs of the operating system: whole files and folders, memory, GDAL's cache, the protobuf wire."""
