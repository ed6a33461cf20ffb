"""`ListModels`: the model versions that have products."""

from earthsignature_grpc.messages.earthsignature.v3 import ListModelsRequest
from earthsignature_grpc.reading.product_reader import ProductReader
from earthsignature_grpc.v3.products import timestamp
from earthsignature_grpc.wire.strict_decoding import decode_request, encode


def list_models(reader: ProductReader, content: bytes) -> bytes:
    """Answer a `ListModelsRequest`: the model versions with products, most recently promoted first.

    Raises:
        QueryError: the bytes are malformed.
        StoreUnavailableError: the catalogue cannot be read.
    """
    decode_request(content, ListModelsRequest, "earthsignature.v3.ListModelsRequest")
    catalogue = reader.catalogue()
    promoted_at = {promotion.model: promotion.promoted_at for promotion in reversed(catalogue.promotions())}
    counts = sorted(catalogue.models(), key=lambda count: count.model)
    counts.sort(
        key=lambda count: promoted_at[count.model].timestamp() if count.model in promoted_at else 0, reverse=True
    )
    models = []
    for count in counts:
        fields = {"model": str(count.model), "product_count": count.products, "current_count": count.current}
        if count.model in promoted_at:
            fields["promoted_at"] = timestamp(promoted_at[count.model])
        models.append(fields)
    return encode("earthsignature.v3.ListModelsResponse", models=models)
