"""From a CreateProduct request to a product, in a process of its own: `python -m earthsignature_grpc.creation`.

What strangers send is decoded here and not in the server: a file that breaks GDAL, eats the memory or never ends takes
this process with it, and nothing else. `earthsignature_grpc.creation.creator` starts it.
"""
