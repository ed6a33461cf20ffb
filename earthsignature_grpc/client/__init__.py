"""The Python clients of an EarthSignature service; they return rasters, polygons and names.

with EarthSignatureClient("localhost:50051") as client:
    for product in client.segmentations_v1(categories=["Coniferous forest"], limit=1):
        classes = product.land_cover_array()

`AsyncEarthSignatureClient` has the same methods for asyncio.
"""

from earthsignature_grpc.client.answers import PolygonProduct, ProductName, RasterProduct
from earthsignature_grpc.client.asynchronous import AsyncEarthSignatureClient
from earthsignature_grpc.client.channel import Tls
from earthsignature_grpc.client.creation_requests import ProductFacts
from earthsignature_grpc.client.downloads import Progress
from earthsignature_grpc.client.listing import (
    AreaSummary,
    ClassArea,
    ModelEntry,
    News,
    PublishedAsset,
    PublishedProduct,
    areas_frame,
)
from earthsignature_grpc.client.requests import (
    ListFilters,
    PolygonOptions,
    ProductFilters,
    RasterOptions,
    SegmentationFilters,
    SummaryFilters,
)
from earthsignature_grpc.client.retries import RetryPolicy
from earthsignature_grpc.client.synchronous import EarthSignatureClient

__all__ = [
    "AreaSummary",
    "AsyncEarthSignatureClient",
    "ClassArea",
    "EarthSignatureClient",
    "ListFilters",
    "ModelEntry",
    "News",
    "PolygonOptions",
    "PolygonProduct",
    "ProductFacts",
    "ProductFilters",
    "ProductName",
    "Progress",
    "PublishedAsset",
    "PublishedProduct",
    "RasterOptions",
    "RasterProduct",
    "RetryPolicy",
    "SegmentationFilters",
    "SummaryFilters",
    "Tls",
    "areas_frame",
]
