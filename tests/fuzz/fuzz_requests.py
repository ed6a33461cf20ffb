"""Fuzzing of the decoder and the areas with millions of requests: `make fuzz` runs it with atheris, coverage-guided.

    python tests/fuzz/fuzz_requests.py -max_total_time=60 build/fuzz

Any bytes must give a query or a QueryError.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["earthsignature_grpc", "earthsignature_assets.products.catalogue.query"]):
    from earthsignature_assets.errors import QueryError
    from earthsignature_grpc import v1, v2
    from earthsignature_grpc.reading.areas import parse_area
    from earthsignature_grpc.wire.strict_decoding import encode

_AREAS = (
    "POLYGON ((14 46, 15 46, 15 47, 14 47, 14 46), (14.2 46.2, 14.4 46.2, 14.4 46.4, 14.2 46.2))",
    "MULTIPOLYGON (((14 46, 15 46, 15 47, 14 46)), ((-180 -90, 1e1 -9.5E0, 0 0, -180 -90)))",
    "GEOMETRYCOLLECTION (POLYGON Z ((1 2 3, 4 5 6, 7 8 9, 1 2 3)), POLYGON EMPTY)",
)
_MOST_S = 0.5  # generous, for instrumentation and a busy machine; the tests check 50 ms


def test_one_input(content: bytes) -> None:
    for read in (v1.segmentation_request, v1.product_ids_query, v2.segmentation_request, v2.product_ids_query):
        try:
            read(content)
        except QueryError:
            continue
    try:
        assert parse_area(content.decode("utf-8", "replace")).area > 0
    except QueryError as error:
        assert error.remedy  # noqa: PT017 - a refusal names its remedy


def _sow(folder: Path) -> None:
    """Write valid requests and areas as seeds, because chance alone rarely makes one."""
    moment = {"seconds": 1_650_000_000, "nanos": 5}
    for number, wkt in enumerate(_AREAS):
        (folder / f"area-{number}").write_text(wkt)
        for version, categories in (("v1", ["312", "Pastures"]), ("v2", [312, 231])):
            fields = {"wkt": wkt, "start_date": moment, "end_date": moment, "categories": categories}
            for method, more in (("ListSegmentation", {"product_ids": ["a"], "n_results": 7}), ("ListProductIds", {})):
                content = encode(f"snapearth.api.{version}.{method}Request", **fields, **more)
                (folder / f"{version}-{method}-{number}").write_bytes(content)


if __name__ == "__main__":
    _sow(Path(sys.argv[-1]))
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
