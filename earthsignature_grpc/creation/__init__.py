"""Creation of products from CreateProduct requests, in a separate process: `python -m earthsignature_grpc.creation`.

Untrusted files are decoded there and not in the server: a file that crashes GDAL, exhausts the memory or never ends
takes down only this process. `earthsignature_grpc.creation.creator` starts it.
"""
