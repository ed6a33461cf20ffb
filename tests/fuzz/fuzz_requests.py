"""Requests that no client would send, by the million: `make fuzz` runs this with atheris, coverage-guided.

    python tests/fuzz/fuzz_requests.py -max_total_time=60

Whatever the bytes, the answer is a query, or a QueryError within the time that the service promises.
"""

import sys
import time

import atheris

with atheris.instrument_imports(include=["earthsignature_grpc", "earthsignature_assets.products.query"]):
    from earthsignature_assets.errors import QueryError
    from earthsignature_grpc import v1, v2
    from earthsignature_grpc.areas import parse_area

_MOST_S = 0.5  # with instrumentation and other programs about; the tests hold the 50 ms


def test_one_input(content: bytes) -> None:
    started = time.thread_time()
    for read in (v1.segmentation_request, v1.product_ids_query, v2.segmentation_request, v2.product_ids_query):
        try:
            read(content)
        except QueryError:
            continue
    try:
        assert parse_area(content.decode("utf-8", "replace")).area > 0
    except QueryError as error:
        assert error.remedy  # noqa: PT017 - a refusal names what to do
    assert time.thread_time() - started < _MOST_S


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
