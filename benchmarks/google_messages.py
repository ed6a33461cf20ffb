"""This service with google-protobuf messages: each is filled from the product's files and serialised by protobuf.

It shows the cost of such a service without ready messages; nothing is kept between calls.
"""

from earthsignature_assets.products.product import Asset, Product
from earthsignature_grpc import v1
from earthsignature_grpc.__main__ import main
from earthsignature_grpc.reading.areas import format_footprint
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.reading.selections import WHOLE_RASTER, RasterSelection
from earthsignature_grpc.wire.strict_decoding import encode


def render_segmentation(reader: ProductReader, product: Product, selection: RasterSelection = WHOLE_RASTER) -> bytes:
    """Create the message of `v1.render_segmentation` for a whole product with google protobuf."""
    assert selection.is_whole
    return encode(
        v1.SEGMENTATION_RESPONSE,
        wkt=format_footprint(product.footprint),
        segmentation=reader.read(product, Asset.LAND_COVER),
        cloud_mask=reader.read(product, Asset.CLOUD_MASK),
        **v1.segmentation_facts(reader, product),
    )


if __name__ == "__main__":
    v1.render_segmentation = render_segmentation
    main(prog_name="python -m benchmarks.google_messages")
