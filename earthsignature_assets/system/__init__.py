"""Services close to the operating system: atomic files, locks, memory, GDAL's cache, extras, the protobuf wire."""
